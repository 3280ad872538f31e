"""Training of CycleGAN between radiographs computed of CTs and real films."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from conventions import InputError, Keys

from .ema import ExponentialAverage
from .image_pool import ImagePool
from .precision import Precision
from .steps import place_in_group, refuse_nan

DOMAINS = ("drr", "real")
GENERATORS, DISCRIMINATORS = "generators", "discriminators"

POLARITY_STEPS = 200
"""Over which the correlation of films with their translations is averaged before it is judged."""


class CycleGANTrainer(Trainer):
    """MONAI trainer of two generators and two discriminators, in the order of the authors' PyTorch code.

    In each iteration all translations are made once; both generators are stepped together with the discriminators
    frozen; then both discriminators are stepped together, on translations made before the generators' update, or on
    earlier ones from a pool of each domain (Zhu et al., ICCV 2017). Every weighted term stands in `state.output` under
    its name: `adversarial_*`, `cycle_*`, `identity_*` and `discriminator_*` of the two domains, beside `loss`, the sum
    of the generators' terms, and the images.

    A generator's two independent inputs go through it in one batch, and so do a discriminator's real and false images:
    instance norm works on each image alone, so nothing but rounding changes.

    Args:
        device: where to run.
        max_epochs: number of epochs.
        train_data_loader: batches with `drr` and `real`, (B, 1, rows, columns) each in [0, 1], bright = dense, which
            have nothing to do with each other.
        to_drr: generator from films to DRRs, of images in [-1, 1]: the one that is used afterwards.
        to_real: generator from DRRs to films.
        drr_discriminator: tells DRRs from translated films.
        real_discriminator: tells films from translated DRRs.
        optimizer: of both generators.
        discriminator_optimizer: of both discriminators.
        adversarial_loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        cycle_loss: `(images, cycled, unchanged) -> {name: weighted scalar}`, for example `losses.CycleLoss`.
        pools: domain -> pool of translated images of that domain; None shows the new ones.
        ema: running average of `to_drr`, updated after every step of it.
        accumulation_steps: batches whose gradients are averaged into one step.
        clip_norm: largest norm of the gradients of both generators, and of both discriminators; None leaves them.
        precision: "fp32", "bf16", or "fp16" with scaled gradients; losses are always taken in fp32.
        polarity_steps: steps over which films are held against their translations; 0 does not look.
        epoch_length, non_blocking, train_handlers, decollate: as in MONAI's trainers.

    Raises:
        InputError: where the precision is unknown; while running, where a loss is not finite, or translations have
            come out inverted.
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
        ema: ExponentialAverage | None = None,
        accumulation_steps: int = 1,
        clip_norm: float | None = None,
        precision: str = "fp32",
        polarity_steps: int = POLARITY_STEPS,
        epoch_length: int | None = None,
        non_blocking: bool = False,
        train_handlers: Sequence[Any] | None = None,
        decollate: bool = False,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            handlers=train_handlers,
            decollate=decollate,
        )
        self.generators = nn.ModuleDict({"drr": to_drr, "real": to_real})
        self.discriminators = nn.ModuleDict({"drr": drr_discriminator, "real": real_discriminator})
        self.optimizer = optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.adversarial_loss = adversarial_loss
        self.cycle_loss = cycle_loss
        self.pools = dict(pools) if pools is not None else {name: ImagePool(0) for name in DOMAINS}
        self.ema = ema
        self.accumulation_steps = accumulation_steps
        self.clip_norm = clip_norm
        optimizers = {GENERATORS: optimizer, DISCRIMINATORS: discriminator_optimizer}
        self.precision = Precision(precision, torch.device(device).type, optimizers)
        self.polarities: deque[float] = deque(maxlen=polarity_steps)

    @property
    def network(self) -> nn.Module:
        """The generator that is used afterwards."""
        return self.generators["drr"]

    def _iteration(self, engine: Any, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """One step of both generators and of both discriminators."""
        images = {}
        for name in DOMAINS:
            image = batchdata[name].to(self.state.device, non_blocking=self.non_blocking)
            images[name] = 2 * (image.as_tensor() if isinstance(image, MetaTensor) else image) - 1
        self.state.output = dict(images)
        first, last, share = place_in_group(self.state, self.accumulation_steps)
        fakes = self._step_generators(images, first, last, share)
        self._step_discriminators(images, fakes, first, last, share)
        if last and self.ema is not None:
            self.ema.update_parameters(self.network)
        self._check_polarity(images["real"], fakes["drr"])
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _translate(
        self, images: Mapping[str, torch.Tensor]
    ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor] | None]:
        """Translated images by the domain they belong to now, cycled ones, and those translated to their own domain."""
        identity = bool(getattr(self.cycle_loss, "identity", True))
        fakes, unchanged, cycled = {}, {}, {}
        for name, other in (("drr", "real"), ("real", "drr")):
            if identity:
                both = self.generators[name](torch.cat([images[other], images[name]]))
                fakes[name], unchanged[name] = both.split([len(images[other]), len(images[name])])
            else:
                fakes[name] = self.generators[name](images[other])
        for name, other in (("drr", "real"), ("real", "drr")):
            cycled[name] = self.generators[name](fakes[other])
        return fakes, cycled, unchanged if identity else None

    def _step_generators(
        self, images: Mapping[str, torch.Tensor], first: bool, last: bool, share: float
    ) -> dict[str, torch.Tensor]:
        self.generators.train()
        self.discriminators.requires_grad_(False)
        if first:
            self.optimizer.zero_grad()
        with self.precision.autocast():
            fakes, cycled, unchanged = self._translate(images)
            scores = {name: self.discriminators[name](fake) for name, fake in fakes.items()}
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        wide = {name: fake if fake.dtype == torch.float64 else fake.float() for name, fake in fakes.items()}
        terms = {f"adversarial_{name}": self._judge(scores[name], True, False) for name in DOMAINS}
        terms |= self.cycle_loss(images, cycled, unchanged)
        loss = torch.stack(list(terms.values())).sum()
        refuse_nan(terms, self.state)
        self.state.output[Keys.LOSS] = loss
        self.state.output.update({name: term.detach() for name, term in terms.items()})
        self.state.output.update({f"fake_{name}": fake.detach() for name, fake in wide.items()})
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.precision.backward(GENERATORS, loss * share)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last:
            self.precision.step(GENERATORS, self.generators.parameters(), self.clip_norm)
        return {name: fake.detach() for name, fake in wide.items()}

    def _step_discriminators(
        self,
        images: Mapping[str, torch.Tensor],
        fakes: Mapping[str, torch.Tensor],
        first: bool,
        last: bool,
        share: float,
    ) -> None:
        self.discriminators.requires_grad_(True)
        self.discriminators.train()
        if first:
            self.discriminator_optimizer.zero_grad()
        for name in reversed(DOMAINS):  # the authors' order, in which the pools draw
            shown = self.pools[name].query(fakes[name])
            with self.precision.autocast():
                scores = self.discriminators[name](torch.cat([images[name], shown]))
            real, fake = scores.split([len(images[name]), len(shown)])
            loss = 0.5 * (self._judge(real, True, True) + self._judge(fake, False, True))
            refuse_nan({f"discriminator_{name}": loss}, self.state)
            self.state.output[f"discriminator_{name}"] = loss.detach()
            self.precision.backward(DISCRIMINATORS, loss * share)
        if last:
            self.precision.step(DISCRIMINATORS, self.discriminators.parameters(), self.clip_norm)

    def _judge(self, scores: torch.Tensor, target_is_real: bool, for_discriminator: bool) -> torch.Tensor:
        wide = scores if scores.dtype == torch.float64 else scores.float()
        return self.adversarial_loss(wide, target_is_real, for_discriminator)

    def _check_polarity(self, films: torch.Tensor, translated: torch.Tensor) -> None:
        """Stop a run in which bone has become dark: it does not heal (the authors' list of failures)."""
        if not self.polarities.maxlen:
            return
        both = torch.stack([films.flatten(), translated.flatten()]).double()
        self.polarities.append(float(torch.corrcoef(both)[0, 1]))
        full = len(self.polarities) == self.polarities.maxlen
        mean = sum(self.polarities) / len(self.polarities)
        if full and mean < 0:
            raise InputError(
                f"translated films have come out inverted (correlation {mean:.2f} over {len(self.polarities)} steps), "
                "which does not heal; train again with a larger identity weight or another --seed"
            )
