"""Train X2CT-GAN or, without an adversary, X2CT-CNN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from conventions import Keys

from .adversary import Adversary
from .distributed import bare, call, exchanging
from .ema import ExponentialAverage
from .precision import Precision
from .resumable import Resumable
from .steps import WITH_GEOMETRY, place_in_step, refuse_nan

AUXILIARY = "auxiliary"
DISCRIMINATOR = "discriminator"
"""Names of the trainer's own terms in `state.output`, next to those of the loss function and of the adversary."""

GENERATOR = "generator"
"""Name of the generator's gradient scale; that of the discriminator is `DISCRIMINATOR`."""


class X2CTTrainer(Resumable, SupervisedTrainer):
    """MONAI trainer of an X2CT generator, in the authors' order of steps.

    In each iteration the generator predicts once; it is stepped on the named losses plus the adversary's terms with the
    discriminator frozen; then the discriminator is stepped on the same prediction, made before the generator's update.
    The total and every weighted term stand in `state.output` under their names, next to MONAI's own keys.

    Args:
        device: device to train on.
        max_epochs: number of epochs.
        train_data_loader: batches with `image` (B, views, rows, columns), `label` (B, 1, D, H, W) in unit values, and
            `geometry` (B, views, 4, 3) in mm, LPS.
        network: the generator, called as `network(image, geometry=geometry)`; this and the discriminator may be in
            `DistributedDataParallel`.
        optimizer: optimiser of the generator.
        loss_function: `(prediction, target) -> {name: weighted scalar}`, for example `losses.WeightedLosses`. Where
            its `expected_error` is a loss of an estimated error, the network's `forward_with_error` is trained with
            it; that term stands in `state.output` and is no part of the total.
        adversary: the discriminator with its optimiser and losses; None trains X2CT-CNN.
        auxiliary_loss: `(volume of a view's own decoder, target) -> scalar`, for example `torch.nn.MSELoss`, summed
            over the views; the network's `forward_with_views` gives the volumes.
        auxiliary_weight: weight of this loss; 0 leaves it out, as the paper does.
        lr_scheduler: schedule of the generator's learning rate, stepped after every epoch.
        ema: running average of the generator's weights, updated after every step.
        resume: restores the trainer before the first epoch and saves it after every epoch, for example
            `handlers.Resume`; None starts from the beginning and saves nothing.
        accumulation_steps: batches whose gradients are averaged into one step; fewer at the end of an epoch.
        clip_norm: largest norm of the gradients of either network; None does not clip.
        precision: "fp32", "bf16", or "fp16" with scaled gradients, in place of MONAI's `amp`; losses are always
            computed in fp32.
        channels_last: lay both networks and the volumes out with channels last, which is faster on some GPUs.
        compile: compile both networks in place with `torch.compile`.
        recompute_levels: number of the decoders' finest levels whose inner activations are computed again in the
            backward pass, to save memory.
        prepare_batch: as in MONAI's `SupervisedTrainer`; by default the geometry is passed to the network.
        **options: all other arguments as in MONAI's `SupervisedTrainer`.

    Raises:
        ValueError: where a weight comes without its loss, or a number is not positive.
        InputError: where the precision is unknown; while running, where a loss is not finite.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable[Any] | DataLoader,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[torch.Tensor, torch.Tensor], Mapping[str, torch.Tensor]],
        adversary: Adversary | None = None,
        auxiliary_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        auxiliary_weight: float = 0.0,
        lr_scheduler: Any = None,
        ema: ExponentialAverage | None = None,
        resume: Any = None,
        accumulation_steps: int = 1,
        clip_norm: float | None = None,
        precision: str = "fp32",
        channels_last: bool = False,
        compile: bool = False,
        recompute_levels: int = 0,
        prepare_batch: Callable[..., Any] = WITH_GEOMETRY,
        **options: Any,
    ) -> None:
        if auxiliary_weight and auxiliary_loss is None:
            raise ValueError("auxiliary_weight needs auxiliary_loss")
        error_loss = getattr(loss_function, "expected_error", None)
        if auxiliary_weight and error_loss is not None:
            raise ValueError("a network is trained with auxiliary_loss or with an expected error, not with both")
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss_function,
            prepare_batch=prepare_batch,
            accumulation_steps=accumulation_steps,
            amp=False,  # refuses it among the options, where nothing would use it
            **options,
        )
        self.adversary = adversary
        self.auxiliary_loss = auxiliary_loss
        self.auxiliary_weight = auxiliary_weight
        self.error_loss = error_loss
        self.ema = ema
        self.clip_norm = clip_norm
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        parts = {"network": network, "optimizer": optimizer, "lr_scheduler": lr_scheduler, "ema": ema}
        networks, optimizers, schedules = [network], {GENERATOR: optimizer}, [lr_scheduler]
        if adversary is not None:
            networks.append(adversary.discriminator)
            optimizers[DISCRIMINATOR] = adversary.optimizer
            schedules.append(adversary.lr_scheduler)
        self.precision = Precision(precision, torch.device(device).type, optimizers)
        if recompute_levels:
            bare(network).recompute(recompute_levels)
        for module in networks:
            if channels_last:
                # `module.to(memory_format=...)` refuses networks with both 2-D and 3-D convolutions.
                nn.utils.convert_conv2d_weight_memory_format(module, torch.channels_last)
                nn.utils.convert_conv3d_weight_memory_format(module, torch.channels_last_3d)
            if compile:
                bare(module).compile()
        self.make_resumable({**parts, "adversary": adversary, "precision": self.precision}, schedules, resume)

    def _iteration(self, engine: Any, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Step the generator once and then, if there is one, the discriminator."""
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        image, label = (t.as_tensor() if isinstance(t, MetaTensor) else t for t in batch[:2])
        extra: Any = batch[2:] or ((), {})
        label = label.contiguous(memory_format=self.memory_format)
        self.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        first, last, share = place_in_step(self.state, self.accumulation_steps)
        self._step_generator(image, label, extra, first, last, share)
        if self.adversary is not None:
            self._step_discriminator(image, label, first, last, share)
        if last and self.ema is not None:
            self.ema.update_parameters(self.network)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _step_generator(
        self, image: torch.Tensor, label: torch.Tensor, extra: Any, first: bool, last: bool, share: float
    ) -> None:
        output, (args, kwargs) = self.state.output, extra
        self.network.train()
        if first:
            self.optimizer.zero_grad()
        of_views: list[torch.Tensor] = []
        error = None
        with exchanging(self.network, last):
            with self.precision.autocast():
                if self.auxiliary_weight:
                    output[Keys.PRED], of_views = call(self.network, "forward_with_views", image)
                elif self.error_loss is not None:
                    output[Keys.PRED], error = call(self.network, "forward_with_error", image, *args, **kwargs)
                else:
                    output[Keys.PRED] = self.inferer(image, self.network, *args, **kwargs)
            output[Keys.PRED] = output[Keys.PRED].float()
            self.fire_event(IterationEvents.FORWARD_COMPLETED)

            terms = dict(self.loss_function(output[Keys.PRED], label))
            if self.auxiliary_weight:
                assert self.auxiliary_loss is not None
                losses = [self.auxiliary_loss(volume.float(), label) for volume in of_views]
                terms[AUXILIARY] = self.auxiliary_weight * torch.stack(losses).sum()
            if self.adversary is not None:
                # Frozen, so that the generator's step leaves no gradients in the discriminator.
                self.adversary.discriminator.requires_grad_(False)
                with self.precision.autocast():
                    terms |= self.adversary.judge(image, output[Keys.PRED], label, self.state.iteration)
            total = output[Keys.LOSS] = torch.stack([term.float() for term in terms.values()]).sum()
            if error is not None:
                assert self.error_loss is not None
                # In layers of its own, so no part of the loss that tells how good the volume is.
                terms[Keys.EXPECTED_ERROR] = self.error_loss(error.float(), output[Keys.PRED], label)
                total = total + terms[Keys.EXPECTED_ERROR]
            output.update({name: term.detach() for name, term in terms.items()})
            refuse_nan(terms, self.state)
            self.fire_event(IterationEvents.LOSS_COMPLETED)

            self.precision.backward(GENERATOR, total * share)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last:
            self.precision.step(GENERATOR, self.network.parameters(), self.clip_norm)

    def _step_discriminator(
        self, image: torch.Tensor, label: torch.Tensor, first: bool, last: bool, share: float
    ) -> None:
        assert self.adversary is not None
        discriminator = self.adversary.discriminator
        discriminator.requires_grad_(True)
        discriminator.train()
        if first:
            self.adversary.optimizer.zero_grad()
        with exchanging(discriminator, last):
            with self.precision.autocast():
                loss = self.adversary.own_loss(image, self.state.output[Keys.PRED].detach(), label)
            self.state.output[DISCRIMINATOR] = loss.detach()
            refuse_nan({DISCRIMINATOR: loss}, self.state)
            self.precision.backward(DISCRIMINATOR, loss * share)
        if last:
            self.precision.step(DISCRIMINATOR, discriminator.parameters(), self.clip_norm)
