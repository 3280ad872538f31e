"""Training of FastCUT: a translator from real films to radiographs of CTs, in that direction alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from conventions import Keys

from .cyclegan_trainer import DRR, REAL
from .distributed import bare, call, exchanging
from .ema import ExponentialAverage
from .polarity import POLARITY
from .precision import Precision
from .steps import correlation, images_of, place_in_group, refuse_nan, wide

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
ADVERSARIAL, CONTENT = "adversarial_drr", "content"
"""Names of the generator's terms in `state.output`; the discriminator's is `discriminator_drr`."""


class FastCUTTrainer(Trainer):
    """MONAI trainer of one generator with one discriminator, whose content is held by a contrast of patches.

    Written after the description of Park et al. (ECCV 2020); the order of steps is theirs: translate, step the
    discriminator, then step the generator with its projector against it. There is no pool and no way back. What stands
    in `state.output` is named as in `CycleGANTrainer`: `loss`, `adversarial_drr`, `content`, `discriminator_drr`,
    `polarity`, and the images `real`, `drr` and `fake_drr` in [-1, 1].

    In FastCUT half of the steps translate the mirrored film and compare it, mirrored back, with the film as it is. The
    radiograph of a CT is then mirrored too, so that the discriminator cannot learn that a heart at the right is false.

    Args:
        device: where to run.
        max_epochs: number of epochs.
        train_data_loader: batches with `real` and `drr`, (B, 1, rows, columns) each in [0, 1], bright = dense.
        network: generator of images in [-1, 1], with `features`, for example `networks.ResnetGenerator`.
        projector: `(features, places) -> patches` of each layer, for example `networks.PatchProjector`.
        discriminator: tells DRRs from translated films.
        optimizer: of generator and projector.
        discriminator_optimizer: of the discriminator.
        adversarial_loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        content_loss: `(patches of the translation, patches of the film) -> scalar`, for example `losses.PatchNCELoss`.
        content_weight: its weight; FastCUT's 10.
        patches: places of each layer that are compared; all, where there are fewer.
        mirror: whether to mirror every second step, by chance.
        ema, accumulation_steps, clip_norm, precision, epoch_length, non_blocking, train_handlers: see
            `CycleGANTrainer`.

    Raises:
        InputError: where the precision is unknown; while running, where a loss is not finite or images do not fit.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable[Any] | DataLoader,
        network: nn.Module,
        projector: nn.Module,
        discriminator: nn.Module,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        adversarial_loss: Callable[..., torch.Tensor],
        content_loss: Callable[[Sequence[torch.Tensor], Sequence[torch.Tensor]], torch.Tensor],
        content_weight: float = 10.0,
        patches: int = 256,
        mirror: bool = True,
        ema: ExponentialAverage | None = None,
        accumulation_steps: int = 1,
        clip_norm: float | None = None,
        precision: str = "fp32",
        epoch_length: int | None = None,
        non_blocking: bool = False,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            handlers=train_handlers,
            decollate=False,
        )
        self.network = network
        self.projector = projector
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.adversarial_loss = adversarial_loss
        self.content_loss = content_loss
        self.content_weight = content_weight
        self.patches = patches
        self.mirror = mirror
        self.ema = ema
        self.accumulation_steps = accumulation_steps
        self.clip_norm = clip_norm
        optimizers = {GENERATOR: optimizer, DISCRIMINATOR: discriminator_optimizer}
        self.precision = Precision(precision, torch.device(device).type, optimizers)

    def _iteration(self, engine: Any, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """One step of the discriminator and one of the generator."""
        real, drr = images_of(batchdata, (REAL, DRR), self.state, self.non_blocking)
        mirrored = self.mirror and bool(torch.rand(()) < 0.5)
        shown_real, shown_drr = (image.flip(-1) if mirrored else image for image in (real, drr))
        self.state.output = {REAL: shown_real, DRR: shown_drr}
        first, last, share = place_in_group(self.state, self.accumulation_steps)
        self.network.train()
        self.projector.train()
        if first:
            self.optimizer.zero_grad()
            self.discriminator_optimizer.zero_grad()
        with exchanging(self.network, last), exchanging(self.projector, last):
            with self.precision.autocast():
                fake = wide(self.network(shown_real))
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            self._step_discriminator(shown_drr, fake.detach(), last, share)
            self._step_generator(real, fake, mirrored, last, share)
        if last and self.ema is not None:
            self.ema.update_parameters(self.network)
        self.state.output["fake_drr"] = fake.detach()
        self.state.output[POLARITY] = correlation(shown_real, fake)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _step_discriminator(self, drr: torch.Tensor, fake: torch.Tensor, last: bool, share: float) -> None:
        self.discriminator.requires_grad_(True)
        self.discriminator.train()
        with exchanging(self.discriminator, last):
            with self.precision.autocast():
                scores = wide(self.discriminator(torch.cat([drr, fake])))
            of_drr, of_fake = scores.split([len(drr), len(fake)])
            loss = 0.5 * (self.adversarial_loss(of_drr, True, True) + self.adversarial_loss(of_fake, False, True))
            self.state.output["discriminator_drr"] = loss.detach()
            refuse_nan({"discriminator_drr": loss}, self.state)
            self.precision.backward(DISCRIMINATOR, loss * share)
        if last:
            self.precision.step(DISCRIMINATOR, self.discriminator.parameters(), self.clip_norm)

    def _step_generator(self, real: torch.Tensor, fake: torch.Tensor, mirrored: bool, last: bool, share: float) -> None:
        # Frozen, so that the generator's step leaves no gradients in it.
        self.discriminator.requires_grad_(False)
        with self.precision.autocast():
            scores = wide(bare(self.discriminator)(fake))
            translated, source = self._patches(real, fake, mirrored)
        terms = {
            ADVERSARIAL: self.adversarial_loss(scores, True, False),
            CONTENT: self.content_weight * self.content_loss(translated, source),
        }
        loss = torch.stack(list(terms.values())).sum()
        refuse_nan(terms, self.state)
        self.state.output |= {Keys.LOSS: loss.detach()} | {name: term.detach() for name, term in terms.items()}
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.precision.backward(GENERATOR, loss * share)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last:
            parameters = [*self.network.parameters(), *self.projector.parameters()]
            self.precision.step(GENERATOR, parameters, self.clip_norm)

    def _patches(
        self, real: torch.Tensor, fake: torch.Tensor, mirrored: bool
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The same places of the translation and of the film, projected."""
        of_fake = call(self.network, "features", fake)
        of_fake = [feature.flip(-1) if mirrored else feature for feature in of_fake]
        with torch.no_grad():
            of_real = bare(self.network).features(real)
        places = [torch.randperm(f[0, 0].numel())[: self.patches].to(f.device) for f in of_fake]
        translated = [wide(patch) for patch in self.projector(of_fake, places)]
        with torch.no_grad():
            source = [wide(patch) for patch in bare(self.projector)(of_real, places)]
        return translated, source
