"""Train FastCUT: a translator from films to DRRs, in that direction alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from conventions import Keys

from .distributed import bare, call, exchanging
from .steps import wide
from .translator_trainer import Images, TranslatorTrainer

ADVERSARIAL, CONTENT = "adversarial_drr", "content"
"""Names of the generator's terms in `state.output`; the discriminator's is `discriminator_drr`."""

Features = list[torch.Tensor]
"""Feature maps of each layer."""


class FastCUTTrainer(TranslatorTrainer):
    """MONAI trainer of one generator against one discriminator, whose content is kept by a contrast of patches.

    Written from the description by Park et al. (ECCV 2020), in their order of steps: translate, step the discriminator,
    then step the generator with its projector against it. There is no pool and no way back. `state.output` uses the
    names of `CycleGANTrainer`: `loss`, `adversarial_drr`, `content`, `discriminator_drr`, `polarity`, and the images
    `real`, `drr` and `fake_drr` in [-1, 1].

    In FastCUT half of the steps translate the mirrored film and compare it, mirrored back, with the film as it is. The
    DRR is then mirrored too, so that the discriminator cannot learn that a heart on the right is false.

    Args:
        device: device to train on.
        max_epochs: number of epochs.
        train_data_loader: batches with `real` and `drr`, (B, 1, rows, columns) each in [0, 1], bright = dense.
        network: generator of images in [-1, 1], with `features`, for example `networks.ResnetGenerator`.
        projector: `(features, places) -> patches` of each layer, for example `networks.PatchProjector`.
        discriminator: discriminator between DRRs and translated films.
        optimizer: optimiser of the generator and the projector.
        discriminator_optimizer: optimiser of the discriminator.
        adversarial_loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        content_loss: `(patches of the translation, patches of the film) -> scalar`, for example `losses.PatchNCELoss`.
        content_weight: weight of this loss; FastCUT's 10.
        patches: number of places compared in each layer; all of them where there are fewer.
        mirror: whether to mirror a step with probability one half.
        **options: all other arguments as in `TranslatorTrainer`.

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
        **options: Any,
    ) -> None:
        super().__init__(
            device,
            max_epochs,
            train_data_loader,
            generators={Keys.DRR: network, "projector": projector},
            discriminators={Keys.DRR: discriminator},
            parts={"network": network, "projector": projector, "discriminator": discriminator},
            network=network,
            optimizer=optimizer,
            discriminator_optimizer=discriminator_optimizer,
            adversarial_loss=adversarial_loss,
            **options,
        )
        self.projector = projector
        self.discriminator = discriminator
        self.content_loss = content_loss
        self.content_weight = content_weight
        self.patches = patches
        self.mirror = mirror

    def _steps(self, images: Images, last: bool, share: float) -> None:
        """Step the discriminator, then the generator with its projector."""
        mirrored = self.mirror and bool(torch.rand(()) < 0.5)
        shown = {name: image.flip(-1) if mirrored else image for name, image in images.items()}
        with exchanging(self.network, last), exchanging(self.projector, last):
            with self.precision.autocast():
                fake = wide(self.network(shown[Keys.REAL]))
            self.state.output = {**shown, "fake_drr": fake.detach()}
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            self.discriminator.requires_grad_(True)
            with exchanging(self.discriminator, last):
                with self.precision.autocast():
                    scores = wide(self.discriminator(torch.cat([shown[Keys.DRR], fake.detach()])))
                of_drr, of_fake = scores.split([len(shown[Keys.DRR]), len(fake)])
                self._judge(Keys.DRR, of_drr, of_fake, share)
            if last:
                self._step_discriminators()
            # Frozen, so that the generator's step leaves no gradients in it.
            self.discriminator.requires_grad_(False)
            with self.precision.autocast():
                scores = wide(bare(self.discriminator)(fake))
                features = self._features(images[Keys.REAL], fake, mirrored)
            translated, source = self._patches(*features)
            terms = {
                ADVERSARIAL: self.adversarial_loss(scores, True, False),
                CONTENT: self.content_weight * self.content_loss(translated, source),
            }
            self._step_generators(terms, last, share)

    def _features(self, real: torch.Tensor, fake: torch.Tensor, mirrored: bool) -> tuple[Features, Features]:
        """Return the features of the translation, mirrored back, and of the film."""
        of_fake = call(self.network, "features", fake)
        with torch.no_grad():
            of_real = bare(self.network).features(real)
        return [wide(f.flip(-1) if mirrored else f) for f in of_fake], [wide(f) for f in of_real]

    def _patches(self, of_fake: Features, of_real: Features) -> tuple[Features, Features]:
        """Project the same places of both, in full precision: lengths start near the smallest of half precision."""
        places = [torch.randperm(f[0, 0].numel())[: self.patches].to(f.device) for f in of_fake]
        translated = self.projector(of_fake, places)
        with torch.no_grad():
            source = bare(self.projector)(of_real, places)
        return translated, source
