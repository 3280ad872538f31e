"""Train CycleGAN between films and DRRs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from monai.engines.utils import IterationEvents
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from conventions import Keys

from .distributed import bare, exchanging
from .image_pool import ImagePool
from .steps import wide
from .translator_trainer import BOTH_WAYS, DOMAINS, Images, TranslatorTrainer

JOINED_ON = ("cuda",)
"""Devices on which one batch of two images is faster than two batches of one; measured to be slower on CPUs."""


class CycleGANTrainer(TranslatorTrainer):
    """MONAI trainer of two generators and two discriminators, in the order of the authors' PyTorch code.

    In each iteration all translations are made once; both generators are stepped together with the discriminators
    frozen; then both discriminators are stepped together, on translations made before the generators' update, or on
    earlier ones from a pool of each domain (Zhu et al., ICCV 2017). Every weighted term stands in `state.output` under
    its name: `adversarial_*`, `cycle_*`, `identity_*`, `structure_*` and `discriminator_*`, each with the domain in
    which it is computed, next to `loss`, the sum of the generators' terms; `polarity`; and, in [-1, 1], the images
    `real` and `drr` and their translations `fake_real` and `fake_drr`.

    On a GPU, two inputs of a generator that do not depend on each other are joined into one batch, and so are the real
    and the false images of a discriminator: instance norm works on each image alone, so nothing but rounding changes.
    Networks with batch norms are called once for each input, and so are all networks on a CPU, where that is faster.

    Args:
        device: device to train on.
        max_epochs: number of epochs.
        train_data_loader: unpaired batches with `real` and `drr`, (B, 1, rows, columns) each in [0, 1], bright = dense.
        to_drr: generator from films to DRRs, of images in [-1, 1]: the one that is used afterwards. This and the other
            networks may be in `DistributedDataParallel`.
        to_real: generator from DRRs to films.
        drr_discriminator: discriminator between DRRs and translated films.
        real_discriminator: discriminator between films and translated DRRs.
        optimizer: optimiser of both generators.
        discriminator_optimizer: optimiser of both discriminators.
        adversarial_loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        cycle_loss: `(images, cycled, unchanged) -> {name: weighted scalar}` with an attribute `identity`, which is 0
            where `unchanged` is not needed, for example `losses.CycleLoss`.
        pools: domain -> pool of translated images of that domain; None shows the new ones.
        structure_loss: `(image, translation) -> scalar`, for example `losses.GradientCorrelationLoss`.
        structure_weight: weight of this loss; 0 leaves it out, as the paper does.
        **options: all other arguments as in `TranslatorTrainer`; `ema` averages `to_drr`.

    Raises:
        ValueError: where a weight comes without its loss.
        InputError: where the precision is unknown; while running, where a loss is not finite or images do not fit.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable[Any] | DataLoader,
        to_drr: nn.Module,
        to_real: nn.Module,
        drr_discriminator: nn.Module,
        real_discriminator: nn.Module,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        adversarial_loss: Callable[..., torch.Tensor],
        cycle_loss: Callable[..., Mapping[str, torch.Tensor]],
        pools: Mapping[str, ImagePool] | None = None,
        structure_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        structure_weight: float = 0.0,
        **options: Any,
    ) -> None:
        if structure_weight and structure_loss is None:
            raise ValueError("structure_weight needs structure_loss")
        pools = {name: ImagePool(0) for name in DOMAINS} if pools is None else dict(pools)
        super().__init__(
            device,
            max_epochs,
            train_data_loader,
            generators={Keys.REAL: to_real, Keys.DRR: to_drr},
            discriminators={Keys.REAL: real_discriminator, Keys.DRR: drr_discriminator},
            parts={
                "to_drr": to_drr,
                "to_real": to_real,
                "drr_discriminator": drr_discriminator,
                "real_discriminator": real_discriminator,
                **{f"{name}_pool": pool for name, pool in pools.items()},
            },
            network=to_drr,
            optimizer=optimizer,
            discriminator_optimizer=discriminator_optimizer,
            adversarial_loss=adversarial_loss,
            **options,
        )
        self.cycle_loss: Any = cycle_loss
        self.pools = pools
        self.structure_loss = structure_loss
        self.structure_weight = structure_weight

    def _translate(self, images: Images) -> tuple[Images, Images, Images | None]:
        """Return translations by the domain they now belong to; images there and back; images to their own domain."""
        identity = bool(self.cycle_loss.identity)
        fakes, unchanged = {}, {}
        for name, other in BOTH_WAYS:
            inputs = [images[other], images[name]] if identity else [images[other]]
            fakes[name], *own = map(wide, _together(self.generators[name], inputs))
            unchanged[name] = own[0] if own else fakes[name]
        cycled = {name: wide(self.generators[name](fakes[other])) for name, other in BOTH_WAYS}
        return fakes, cycled, unchanged if identity else None

    def _steps(self, images: Images, last: bool, share: float) -> None:
        """Step both generators, then both discriminators."""
        self.state.output = dict(images)
        # Frozen, so that the generators' step leaves no gradients in them.
        self.discriminators.requires_grad_(False)
        with ExitStack() as stack:
            for generator in self.generators.values():
                stack.enter_context(exchanging(generator, last))
            with self.precision.autocast():
                fakes, cycled, unchanged = self._translate(images)
                scores = {name: wide(bare(self.discriminators[name])(fakes[name])) for name in DOMAINS}
            self.state.output |= {f"fake_{name}": fake.detach() for name, fake in fakes.items()}
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            terms = {f"adversarial_{name}": self.adversarial_loss(scores[name], True, False) for name in DOMAINS}
            terms |= self.cycle_loss(images, cycled, unchanged)
            if self.structure_weight:
                assert self.structure_loss is not None
                for name, other in BOTH_WAYS:
                    kept = self.structure_loss(images[other], fakes[name])
                    terms[f"structure_{name}"] = self.structure_weight * kept
            self._step_generators(terms, last, share)
        self.discriminators.requires_grad_(True)
        for name in DOMAINS:
            discriminator = self.discriminators[name]
            shown = self.pools[name].query(fakes[name].detach())
            with exchanging(discriminator, last):
                with self.precision.autocast():
                    real, fake = map(wide, _together(discriminator, [images[name], shown]))
                self._judge(name, real, fake, share)
        if last:
            self._step_discriminators()


def _together(network: nn.Module, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Apply a network to several inputs, in one call where that gives the same."""
    if inputs[0].device.type not in JOINED_ON or any(isinstance(module, _BatchNorm) for module in network.modules()):
        return [network(image) for image in inputs]
    return network(torch.cat(list(inputs))).split([len(image) for image in inputs])
