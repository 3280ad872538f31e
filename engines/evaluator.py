"""Evaluate a generator, with controls: mean training volume, nearest training case, another's radiographs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from torch import nn
from torch.utils.data import DataLoader

from conventions import InputError, Keys

from .distributed import bare, call
from .steps import GEOMETRY, WITH_GEOMETRY


class X2CTEvaluator(SupervisedEvaluator):
    """MONAI evaluator of a generator, with controls that show whether the network reads its input.

    `state.output` holds `image`, `label` where there is one, and `pred`; also `mean_volume` and
    `nearest_case` where they were given, and `shuffled_input`, predicted from `other_image` with `other_geometry`,
    where the batch holds another patient's radiographs.

    Args:
        device: device to evaluate on.
        val_data_loader: batches with `image` (B, views, rows, columns), `geometry` (B, views, 4, 3) in mm, LPS, and
            `label` (B, 1, D, H, W) where known.
        network: the generator, called as `network(image, geometry=geometry)`.
        mean_volume: mean of the training volumes (1, D, H, W), unit values.
        nearest_case: radiographs (B, views, rows, columns) -> volumes (B, 1, D, H, W) of training cases, unit values.
        with_error: whether the network also estimates the error of each voxel (`forward_with_error`), which becomes
            `expected_error`; the inferer is not used then.
        prepare_batch: as in MONAI's `SupervisedEvaluator`; by default the geometry is passed to the network.
        **options: all other arguments as in MONAI's `SupervisedEvaluator`.
    """

    def __init__(
        self,
        device: str | torch.device,
        val_data_loader: Iterable[Any] | DataLoader,
        network: nn.Module,
        mean_volume: torch.Tensor | None = None,
        nearest_case: Callable[[torch.Tensor], torch.Tensor] | None = None,
        with_error: bool = False,
        prepare_batch: Callable[..., Any] = WITH_GEOMETRY,
        **options: Any,
    ) -> None:
        if with_error and not hasattr(bare(network), "forward_with_error"):
            raise InputError(
                "--uncertainty needs a network that estimates its errors (raylift.json), and --backend torch; leave it "
                "out for this one"
            )
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            network=network,
            prepare_batch=prepare_batch,
            amp=False,  # refuses it among the options, where nothing would use it
            **options,
        )
        self.mean_volume = mean_volume
        self.nearest_case = nearest_case
        self.with_error = with_error

    def _iteration(self, engine: Any, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Predict one batch."""
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        (image, label), (args, kwargs) = batch[:2], batch[2:] or ((), {})
        output: dict[str, Any] = {Keys.IMAGE: image}
        if label is not None:
            output[Keys.LABEL] = label
        self.state.output = output
        with self.mode(self.network):
            if self.with_error:
                output[Keys.PRED], output[Keys.EXPECTED_ERROR] = call(
                    self.network, "forward_with_error", image, *args, **kwargs
                )
            else:
                output[Keys.PRED] = self.inferer(image, self.network, *args, **kwargs)
            if Keys.OTHER_IMAGE in batchdata:
                other = batchdata[Keys.OTHER_IMAGE].to(self.state.device, non_blocking=self.non_blocking)
                if GEOMETRY in kwargs and Keys.OTHER_GEOMETRY in batchdata:
                    kwargs = {**kwargs, GEOMETRY: batchdata[Keys.OTHER_GEOMETRY].to(self.state.device)}
                output[Keys.SHUFFLED_INPUT] = self.inferer(other, self.network, *args, **kwargs)
        if self.mean_volume is not None:
            mean = torch.as_tensor(self.mean_volume, device=self.state.device)
            output[Keys.MEAN_VOLUME] = mean.expand(image.shape[0], *mean.shape)
        if self.nearest_case is not None:
            output[Keys.NEAREST_CASE] = self.nearest_case(image)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output  # decollated and postprocessed by now
