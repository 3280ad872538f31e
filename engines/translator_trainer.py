"""What the trainers of translators between films and radiographs computed of CTs have in common."""

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

from .ema import ExponentialAverage
from .polarity import POLARITY
from .precision import Precision
from .steps import correlation, images_of, place_in_group, refuse_nan

REAL, DRR = "real", "drr"
DOMAINS = (REAL, DRR)
"""Films and radiographs computed of CTs: keys of a batch, and of everything that there is one of for each."""

BOTH_WAYS = ((REAL, DRR), (DRR, REAL))
"""Domain of a translation, and the one it comes from."""

GENERATORS, DISCRIMINATORS = "generators", "discriminators"

Images = dict[str, torch.Tensor]
"""Domain -> images (B, 1, rows, columns) in [-1, 1]."""


class TranslatorTrainer(Trainer):
    """MONAI trainer of generators against discriminators, whose subclasses say in which order they are stepped.

    Beside the terms, `state.output` holds `loss`, the sum of the generators' terms, and `polarity`, the lowest
    correlation of an image with its translation.

    Args:
        device: where to run.
        max_epochs: number of epochs.
        train_data_loader: batches with `real` and `drr`, (B, 1, rows, columns) each in [0, 1], bright = dense.
        generators: name -> what is stepped by `optimizer`; this and the discriminators may be in
            `DistributedDataParallel`.
        discriminators: name -> what is stepped by `discriminator_optimizer`.
        network: the generator from films to DRRs, which is used afterwards.
        optimizer: of all generators.
        discriminator_optimizer: of all discriminators.
        adversarial_loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        ema: running average of `network`, updated after every step of it.
        accumulation_steps: batches whose gradients are averaged into one step, at the end of an epoch fewer.
        clip_norm: largest norm of the gradients of all generators, and of all discriminators; None leaves them.
        precision: "fp32", "bf16", or "fp16" with scaled gradients; losses are always taken in fp32.
        epoch_length, non_blocking, train_handlers: as in MONAI's trainers.

    Raises:
        InputError: where the precision is unknown; while running, where a loss is not finite or images do not fit.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable[Any] | DataLoader,
        generators: Mapping[str, nn.Module],
        discriminators: Mapping[str, nn.Module],
        network: nn.Module,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        adversarial_loss: Callable[..., torch.Tensor],
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
        self.generators = nn.ModuleDict(generators)
        self.discriminators = nn.ModuleDict(discriminators)
        self.network = network
        self.optimizer = optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.adversarial_loss = adversarial_loss
        self.ema = ema
        self.accumulation_steps = accumulation_steps
        self.clip_norm = clip_norm
        optimizers = {GENERATORS: optimizer, DISCRIMINATORS: discriminator_optimizer}
        self.precision = Precision(precision, torch.device(device).type, optimizers)

    def _iteration(self, engine: Any, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """One step of everything."""
        images = dict(zip(DOMAINS, images_of(batchdata, DOMAINS, self.state, self.non_blocking), strict=True))
        first, last, share = place_in_group(self.state, self.accumulation_steps)
        self.generators.train()
        self.discriminators.train()
        if first:
            self.optimizer.zero_grad()
            self.discriminator_optimizer.zero_grad()
        self._steps(images, last, share)
        if last and self.ema is not None:
            self.ema.update_parameters(self.network)
        output = self.state.output
        ways = [(source, f"fake_{name}") for name, source in BOTH_WAYS if f"fake_{name}" in output]
        output[POLARITY] = torch.stack([correlation(output[source], output[fake]) for source, fake in ways]).min()
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return output

    def _steps(self, images: Images, last: bool, share: float) -> None:
        """Translate and step; leaves the images and, as `fake_*`, their translations in `state.output`.

        Args:
            images: of both domains.
            last: whether this batch ends a step.
            share: of this batch in the step.
        """
        raise NotImplementedError

    def _step_generators(self, terms: Mapping[str, torch.Tensor], last: bool, share: float) -> None:
        """Go back from the generators' terms, with the discriminators frozen."""
        loss = torch.stack(list(terms.values())).sum()
        refuse_nan(terms, self.state)
        self.state.output |= {Keys.LOSS: loss.detach()} | {name: term.detach() for name, term in terms.items()}
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.precision.backward(GENERATORS, loss * share)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last:
            self.precision.step(GENERATORS, self.generators.parameters(), self.clip_norm)

    def _judge(self, name: str, of_true: torch.Tensor, of_fake: torch.Tensor, share: float) -> None:
        """Go back from what one discriminator scored."""
        loss = 0.5 * (self.adversarial_loss(of_true, True, True) + self.adversarial_loss(of_fake, False, True))
        self.state.output[f"discriminator_{name}"] = loss.detach()
        refuse_nan({f"discriminator_{name}": loss}, self.state)
        self.precision.backward(DISCRIMINATORS, loss * share)

    def _step_discriminators(self) -> None:
        self.precision.step(DISCRIMINATORS, self.discriminators.parameters(), self.clip_norm)
