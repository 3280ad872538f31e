"""Training of CycleGAN between real films and radiographs computed of CTs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from conventions import Keys

from .distributed import bare, exchanging
from .ema import ExponentialAverage
from .image_pool import ImagePool
from .polarity import POLARITY
from .precision import Precision
from .steps import correlation, images_of, place_in_group, refuse_nan, wide

REAL, DRR = "real", "drr"
DOMAINS = (REAL, DRR)
"""Films and radiographs computed of CTs: keys of a batch, and of everything that there is one of for each."""

GENERATORS, DISCRIMINATORS = "generators", "discriminators"

JOINED_ON = ("cuda",)
"""Devices on which one batch of two images is faster than two of one; on a CPU it was measured to be slower."""

Images = dict[str, torch.Tensor]
"""Domain -> images (B, 1, rows, columns) in [-1, 1]."""


class CycleGANTrainer(Trainer):
    """MONAI trainer of two generators and two discriminators, in the order of the authors' PyTorch code.

    In each iteration all translations are made once; both generators are stepped together with the discriminators
    frozen; then both discriminators are stepped together, on translations made before the generators' update, or on
    earlier ones from a pool of each domain (Zhu et al., ICCV 2017). Every weighted term stands in `state.output` under
    its name: `adversarial_*`, `cycle_*`, `identity_*`, `structure_*` and `discriminator_*`, each of the domain in which
    it is taken, beside `loss`, the sum of the generators' terms; `polarity`; and, in [-1, 1], the images `real` and
    `drr` and their translations `fake_real` and `fake_drr`.

    On a GPU a generator's two inputs that do not depend on each other go through it in one batch, and so do a
    discriminator's real and false images: instance norm works on each image alone, so nothing but rounding changes.
    Networks with batch norms are called for each of them, and so are all on a CPU, where one batch is slower.

    Args:
        device: where to run.
        max_epochs: number of epochs.
        train_data_loader: batches with `real` and `drr`, (B, 1, rows, columns) each in [0, 1], bright = dense, which
            have nothing to do with each other.
        to_drr: generator from films to DRRs, of images in [-1, 1]: the one that is used afterwards. This and the other
            networks may be in `DistributedDataParallel`.
        to_real: generator from DRRs to films.
        drr_discriminator: tells DRRs from translated films.
        real_discriminator: tells films from translated DRRs.
        optimizer: of both generators.
        discriminator_optimizer: of both discriminators.
        adversarial_loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        cycle_loss: `(images, cycled, unchanged) -> {name: weighted scalar}` with an attribute `identity`, which is 0
            where `unchanged` is not needed, for example `losses.CycleLoss`.
        pools: domain -> pool of translated images of that domain; None shows the new ones.
        structure_loss: `(image, translation) -> scalar`, for example `losses.GradientCorrelationLoss`.
        structure_weight: its weight; 0 leaves it out, as the paper does.
        ema: running average of `to_drr`, updated after every step of it.
        accumulation_steps: batches whose gradients are averaged into one step, at the end of an epoch fewer.
        clip_norm: largest norm of the gradients of both generators, and of both discriminators; None leaves them.
        precision: "fp32", "bf16", or "fp16" with scaled gradients; losses are always taken in fp32.
        epoch_length, non_blocking, train_handlers: as in MONAI's trainers.

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
        ema: ExponentialAverage | None = None,
        accumulation_steps: int = 1,
        clip_norm: float | None = None,
        precision: str = "fp32",
        epoch_length: int | None = None,
        non_blocking: bool = False,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        if structure_weight and structure_loss is None:
            raise ValueError("structure_weight needs structure_loss")
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            handlers=train_handlers,
            decollate=False,
        )
        self.network = to_drr
        self.generators = nn.ModuleDict({REAL: to_real, DRR: to_drr})
        self.discriminators = nn.ModuleDict({REAL: real_discriminator, DRR: drr_discriminator})
        self.optimizer = optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.adversarial_loss = adversarial_loss
        self.cycle_loss: Any = cycle_loss
        self.pools = dict(pools) if pools is not None else {name: ImagePool(0) for name in DOMAINS}
        self.structure_loss = structure_loss
        self.structure_weight = structure_weight
        self.ema = ema
        self.accumulation_steps = accumulation_steps
        self.clip_norm = clip_norm
        optimizers = {GENERATORS: optimizer, DISCRIMINATORS: discriminator_optimizer}
        self.precision = Precision(precision, torch.device(device).type, optimizers)

    def _iteration(self, engine: Any, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """One step of both generators and of both discriminators."""
        images = dict(zip(DOMAINS, images_of(batchdata, DOMAINS, self.state, self.non_blocking), strict=True))
        self.state.output = dict(images)
        first, last, share = place_in_group(self.state, self.accumulation_steps)
        fakes = self._step_generators(images, first, last, share)
        self._step_discriminators(images, fakes, first, last, share)
        if last and self.ema is not None:
            self.ema.update_parameters(self.network)
        polarities = [correlation(images[name], fakes[other]) for name, other in _BOTH_WAYS]
        self.state.output[POLARITY] = torch.stack(polarities).min()
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _translate(self, images: Images) -> tuple[Images, Images, Images | None]:
        """Translations, each by the domain it is now of; images there and back; images to their own domain."""
        identity = bool(self.cycle_loss.identity)
        fakes, unchanged = {}, {}
        for name, other in _BOTH_WAYS:
            inputs = [images[other], images[name]] if identity else [images[other]]
            fakes[name], *own = map(wide, _together(self.generators[name], inputs))
            unchanged[name] = own[0] if own else fakes[name]
        cycled = {name: wide(self.generators[name](fakes[other])) for name, other in _BOTH_WAYS}
        return fakes, cycled, unchanged if identity else None

    def _step_generators(self, images: Images, first: bool, last: bool, share: float) -> Images:
        self.generators.train()
        # Frozen, so that the generators' step leaves no gradients in them.
        self.discriminators.requires_grad_(False)
        if first:
            self.optimizer.zero_grad()
        with ExitStack() as stack:
            for generator in self.generators.values():
                stack.enter_context(exchanging(generator, last))
            with self.precision.autocast():
                fakes, cycled, unchanged = self._translate(images)
                scores = {name: wide(bare(self.discriminators[name])(fakes[name])) for name in DOMAINS}
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            terms = {f"adversarial_{name}": self.adversarial_loss(scores[name], True, False) for name in DOMAINS}
            terms |= self.cycle_loss(images, cycled, unchanged)
            if self.structure_weight:
                assert self.structure_loss is not None
                for name, other in _BOTH_WAYS:
                    kept = self.structure_loss(images[other], fakes[name])
                    terms[f"structure_{name}"] = self.structure_weight * kept
            loss = torch.stack(list(terms.values())).sum()
            refuse_nan(terms, self.state)
            self.state.output |= {Keys.LOSS: loss.detach()} | {name: term.detach() for name, term in terms.items()}
            self.state.output |= {f"fake_{name}": fake.detach() for name, fake in fakes.items()}
            self.fire_event(IterationEvents.LOSS_COMPLETED)
            self.precision.backward(GENERATORS, loss * share)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last:
            self.precision.step(GENERATORS, self.generators.parameters(), self.clip_norm)
        return {name: fake.detach() for name, fake in fakes.items()}

    def _step_discriminators(self, images: Images, fakes: Images, first: bool, last: bool, share: float) -> None:
        self.discriminators.requires_grad_(True)
        self.discriminators.train()
        if first:
            self.discriminator_optimizer.zero_grad()
        for name in DOMAINS:
            discriminator = self.discriminators[name]
            shown = self.pools[name].query(fakes[name])
            with exchanging(discriminator, last):
                with self.precision.autocast():
                    real, fake = map(wide, _together(discriminator, [images[name], shown]))
                loss = 0.5 * (self.adversarial_loss(real, True, True) + self.adversarial_loss(fake, False, True))
                self.state.output[f"discriminator_{name}"] = loss.detach()
                refuse_nan({f"discriminator_{name}": loss}, self.state)
                self.precision.backward(DISCRIMINATORS, loss * share)
        if last:
            self.precision.step(DISCRIMINATORS, self.discriminators.parameters(), self.clip_norm)


_BOTH_WAYS = ((REAL, DRR), (DRR, REAL))


def _together(network: nn.Module, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """What a network makes of several inputs, in one call where that gives the same."""
    if inputs[0].device.type not in JOINED_ON or any(isinstance(module, _BatchNorm) for module in network.modules()):
        return [network(image) for image in inputs]
    return network(torch.cat(list(inputs))).split([len(image) for image in inputs])
