"""Train translators between films and DRRs: what CycleGAN and FastCUT share."""

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
from .precision import Precision
from .resumable import Resumable
from .steps import correlation, images_of, place_in_step, refuse_nan

DOMAINS: tuple[str, ...] = (Keys.REAL, Keys.DRR)
"""Films and DRRs: keys of a batch, and of everything that each domain has one of."""

BOTH_WAYS: tuple[tuple[str, str], ...] = ((Keys.REAL, Keys.DRR), (Keys.DRR, Keys.REAL))
"""Domain of a translation, and the domain it comes from."""

GENERATORS, DISCRIMINATORS = "generators", "discriminators"

POLARITY = "polarity"
"""Name in `state.output` for the correlation of images with their translations, the lower one of both directions."""

Images = dict[str, torch.Tensor]
"""Domain -> images (B, 1, rows, columns) in [-1, 1]."""


class TranslatorTrainer(Resumable, Trainer):
    """MONAI trainer of generators against discriminators; subclasses define the order in which they are stepped.

    Next to the terms, `state.output` holds `loss`, the sum of the generators' terms, and `polarity`, the lowest
    correlation of an image with its translation.

    Args:
        device: device to train on.
        max_epochs: number of epochs.
        train_data_loader: batches with `real` and `drr`, (B, 1, rows, columns) each in [0, 1], bright = dense.
        generators: name -> network stepped by `optimizer`; these and the discriminators may be in
            `DistributedDataParallel`.
        discriminators: name -> network stepped by `discriminator_optimizer`.
        parts: name -> network or pool to save and to resume; optimisers, schedules, average and precision are added.
        network: the generator from films to DRRs, which is used afterwards.
        optimizer: optimiser of all generators.
        discriminator_optimizer: optimiser of all discriminators.
        adversarial_loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        lr_scheduler: schedule of the generators' learning rate, stepped after every epoch.
        discriminator_lr_scheduler: schedule of the discriminators' learning rate, stepped after every epoch.
        ema: running average of `network`, updated after every step.
        resume: restores the trainer before the first epoch and saves it after every epoch, for example
            `handlers.Resume`; None starts from the beginning and saves nothing.
        accumulation_steps: batches whose gradients are averaged into one step; fewer at the end of an epoch.
        clip_norm: largest norm of the gradients of all generators, and of all discriminators; None does not clip.
        precision: "fp32", "bf16", or "fp16" with scaled gradients, in place of MONAI's `amp`; losses are always
            computed in fp32.
        train_handlers: as `handlers` in MONAI's `Trainer`.
        **options: all other arguments as in MONAI's `Trainer`.

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
        parts: Mapping[str, Any],
        network: nn.Module,
        optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        adversarial_loss: Callable[..., torch.Tensor],
        lr_scheduler: Any = None,
        discriminator_lr_scheduler: Any = None,
        ema: ExponentialAverage | None = None,
        resume: Any = None,
        accumulation_steps: int = 1,
        clip_norm: float | None = None,
        precision: str = "fp32",
        train_handlers: Sequence[Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            data_loader=train_data_loader,
            handlers=train_handlers,
            decollate=False,
            amp=False,  # refuses it among the options, where nothing would use it
            **options,
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
        everything = {
            **parts,
            "optimizer": optimizer,
            "discriminator_optimizer": discriminator_optimizer,
            "lr_scheduler": lr_scheduler,
            "discriminator_lr_scheduler": discriminator_lr_scheduler,
            "ema": ema,
            "precision": self.precision,
        }
        self.make_resumable(everything, [lr_scheduler, discriminator_lr_scheduler], resume)

    def _iteration(self, engine: Any, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """Step everything once."""
        images = dict(zip(DOMAINS, images_of(batchdata, DOMAINS, self.state, self.non_blocking), strict=True))
        first, last, share = place_in_step(self.state, self.accumulation_steps)
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
        """Translate and step; put the images and, as `fake_*`, their translations into `state.output`.

        Args:
            images: images of both domains.
            last: whether this batch ends a step.
            share: share of this batch in the step.
        """
        raise NotImplementedError

    def _step_generators(self, terms: Mapping[str, torch.Tensor], last: bool, share: float) -> None:
        """Compute gradients from the generators' terms, with the discriminators frozen, and step where it is time."""
        loss = torch.stack(list(terms.values())).sum()
        refuse_nan(terms, self.state)
        self.state.output |= {Keys.LOSS: loss.detach()} | {name: term.detach() for name, term in terms.items()}
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        self.precision.backward(GENERATORS, loss * share)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last:
            self.precision.step(GENERATORS, self.generators.parameters(), self.clip_norm)

    def _judge(self, name: str, of_true: torch.Tensor, of_fake: torch.Tensor, share: float) -> None:
        """Compute gradients from the scores of one discriminator."""
        loss = 0.5 * (self.adversarial_loss(of_true, True, True) + self.adversarial_loss(of_fake, False, True))
        self.state.output[f"discriminator_{name}"] = loss.detach()
        refuse_nan({f"discriminator_{name}": loss}, self.state)
        self.precision.backward(DISCRIMINATORS, loss * share)

    def _step_discriminators(self) -> None:
        self.precision.step(DISCRIMINATORS, self.discriminators.parameters(), self.clip_norm)
