"""Evaluation of a generator, beside predictions that read nothing or the wrong patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents, default_prepare_batch
from monai.inferers import Inferer
from monai.transforms import Transform
from torch import nn
from torch.utils.data import DataLoader

from conventions import Keys


class X2CTEvaluator(SupervisedEvaluator):
    """MONAI evaluator that puts a model's prediction beside two that show whether it reads its input.

    `state.output` holds `image`, `label` where there is one, and `pred`; also `mean_volume` where one was given, and
    `shuffled_input`, predicted from `other_image`, where the batch holds another patient's radiographs.

    Args:
        device: where to run.
        val_data_loader: batches with `image` (B, views, rows, columns), and `label` (B, 1, D, H, W) where known.
        network: the generator.
        mean_volume: mean of the training volumes (1, D, H, W), unit values.
        inferer, postprocessing, key_val_metric, additional_metrics, val_handlers, decollate, epoch_length,
            non_blocking, prepare_batch: as in MONAI's `SupervisedEvaluator`.
    """

    def __init__(
        self,
        device: str | torch.device,
        val_data_loader: Iterable[Any] | DataLoader,
        network: nn.Module,
        mean_volume: torch.Tensor | None = None,
        epoch_length: int | None = None,
        non_blocking: bool = False,
        prepare_batch: Callable[..., Any] = default_prepare_batch,
        inferer: Inferer | None = None,
        postprocessing: Transform | None = None,
        key_val_metric: dict[str, Any] | None = None,
        additional_metrics: dict[str, Any] | None = None,
        val_handlers: Sequence[Any] | None = None,
        decollate: bool = True,
    ) -> None:
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            network=network,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            prepare_batch=prepare_batch,
            inferer=inferer,
            postprocessing=postprocessing,
            key_val_metric=key_val_metric,
            additional_metrics=additional_metrics,
            val_handlers=val_handlers,
            decollate=decollate,
        )
        self.mean_volume = mean_volume

    def _iteration(self, engine: Any, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Predict one batch."""
        image, label = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)[:2]
        output: dict[str, Any] = {Keys.IMAGE: image}
        if label is not None:
            output[Keys.LABEL] = label
        self.state.output = output
        with self.mode(self.network):
            output[Keys.PRED] = self.inferer(image, self.network)
            if Keys.OTHER_IMAGE in batchdata:
                other = batchdata[Keys.OTHER_IMAGE].to(self.state.device, non_blocking=self.non_blocking)
                output[Keys.SHUFFLED_INPUT] = self.inferer(other, self.network)
        if self.mean_volume is not None:
            mean = torch.as_tensor(self.mean_volume, device=self.state.device)
            output[Keys.MEAN_VOLUME] = mean.expand(image.shape[0], *mean.shape)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output  # decollated and postprocessed by now
