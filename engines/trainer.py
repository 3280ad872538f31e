"""Training of X2CT-GAN and, without a discriminator, X2CT-CNN."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents, default_prepare_batch
from monai.inferers import Inferer
from monai.transforms import Transform
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from conventions import InputError, Keys, expand_views

ADVERSARIAL = "adversarial"
FEATURE_MATCHING = "feature_matching"
AUXILIARY = "auxiliary"
DISCRIMINATOR = "discriminator"
"""Names of the trainer's own terms in `state.output`, beside those of the loss function."""


class X2CTTrainer(SupervisedTrainer):
    """MONAI trainer of an X2CT generator, in the authors' order of steps.

    In each iteration the generator predicts once; it is stepped on the named losses plus the adversarial loss with the
    discriminator frozen; then the discriminator is stepped on the same prediction, made before the generator's update.
    The total and every weighted term stand in `state.output` under their names, next to MONAI's own keys.

    A conditional discriminator sees the radiographs, each repeated along its ray axis, beside the volume:
    (B, views + 1, D, H, W).

    Args:
        device: where to run.
        max_epochs: number of epochs.
        train_data_loader: batches with `image` (B, views, rows, columns) and `label` (B, 1, D, H, W), unit values.
        network: the generator.
        optimizer: the generator's.
        loss_function: `(prediction, target) -> {name: weighted scalar}`, for example `losses.WeightedLosses`.
        discriminator: scores volumes; None trains X2CT-CNN.
        discriminator_optimizer: the discriminator's.
        adversarial_loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        adversarial_weight: weight of the adversarial loss in both steps; the paper's 0.1.
        conditional: whether the discriminator sees the radiographs.
        feature_matching_loss: `(features of the prediction, features of the truth) -> scalar`, for example
            `losses.FeatureMatchingLoss`; the discriminator's `features` gives them.
        feature_matching_weight: its weight; 0 leaves it out, as the paper does.
        auxiliary_loss: `(volume of a view's own decoder, target) -> scalar`, for example `torch.nn.MSELoss`; the
            network's `forward_with_views` gives them. Summed over the views.
        auxiliary_weight: its weight; 0 leaves it out, as the paper does.
        amp: run both networks under bfloat16 autocast, which needs no gradient scaling.
        inferer, postprocessing, key_train_metric, additional_metrics, train_handlers, decollate, epoch_length,
            non_blocking, prepare_batch: as in MONAI's `SupervisedTrainer`.

    Raises:
        ValueError: where a discriminator comes without its optimizer or loss, or a weight without its loss.
        InputError: while running, where a loss is not finite.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable[Any] | DataLoader,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[torch.Tensor, torch.Tensor], Mapping[str, torch.Tensor]],
        discriminator: nn.Module | None = None,
        discriminator_optimizer: Optimizer | None = None,
        adversarial_loss: Callable[..., torch.Tensor] | None = None,
        adversarial_weight: float = 0.1,
        conditional: bool = True,
        feature_matching_loss: Callable[..., torch.Tensor] | None = None,
        feature_matching_weight: float = 0.0,
        auxiliary_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        auxiliary_weight: float = 0.0,
        epoch_length: int | None = None,
        non_blocking: bool = False,
        prepare_batch: Callable[..., Any] = default_prepare_batch,
        inferer: Inferer | None = None,
        postprocessing: Transform | None = None,
        key_train_metric: dict[str, Any] | None = None,
        additional_metrics: dict[str, Any] | None = None,
        train_handlers: Sequence[Any] | None = None,
        amp: bool = False,
        decollate: bool = True,
    ) -> None:
        if discriminator is not None and (discriminator_optimizer is None or adversarial_loss is None):
            raise ValueError("a discriminator needs both discriminator_optimizer and adversarial_loss")
        if feature_matching_weight and (feature_matching_loss is None or discriminator is None):
            raise ValueError("feature_matching_weight needs feature_matching_loss and a discriminator")
        if auxiliary_weight and auxiliary_loss is None:
            raise ValueError("auxiliary_weight needs auxiliary_loss")
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=loss_function,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            prepare_batch=prepare_batch,
            inferer=inferer,
            postprocessing=postprocessing,
            key_train_metric=key_train_metric,
            additional_metrics=additional_metrics,
            train_handlers=train_handlers,
            decollate=decollate,
        )
        self.discriminator: Any = discriminator
        self.discriminator_optimizer = discriminator_optimizer
        self.adversarial_loss = adversarial_loss
        self.adversarial_weight = adversarial_weight
        self.conditional = conditional
        self.feature_matching_loss = feature_matching_loss
        self.feature_matching_weight = feature_matching_weight
        self.auxiliary_loss = auxiliary_loss
        self.auxiliary_weight = auxiliary_weight
        self.autocast = bool(amp)

    def _iteration(self, engine: Any, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        """One step of the generator and, where there is one, of the discriminator."""
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        image, label = (t.as_tensor() if isinstance(t, MetaTensor) else t for t in batch[:2])
        self.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        self._step_generator(image, label)
        if self.discriminator is not None:
            self._step_discriminator(image, label, self.state.output[Keys.PRED].detach())
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _step_generator(self, image: torch.Tensor, label: torch.Tensor) -> None:
        output = self.state.output
        self.network.train()
        self.optimizer.zero_grad()
        of_views: list[torch.Tensor] = []
        with self._autocast():
            if self.auxiliary_weight:
                forward_with_views: Callable[..., Any] = self.network.forward_with_views
                output[Keys.PRED], of_views = forward_with_views(image)
            else:
                output[Keys.PRED] = self.inferer(image, self.network)
        output[Keys.PRED] = output[Keys.PRED].float()
        self.fire_event(IterationEvents.FORWARD_COMPLETED)

        terms = dict(self.loss_function(output[Keys.PRED], label))
        if self.auxiliary_weight:
            assert self.auxiliary_loss is not None
            losses = [self.auxiliary_loss(volume.float(), label) for volume in of_views]
            terms[AUXILIARY] = self.auxiliary_weight * torch.stack(losses).sum()
        if self.discriminator is not None:
            # Frozen, so that the generator's step leaves no gradients in the discriminator.
            self.discriminator.requires_grad_(False)
            terms |= self._judge(image, output[Keys.PRED], label)
        output[Keys.LOSS] = torch.stack(list(terms.values())).sum()
        output.update({name: term.detach() for name, term in terms.items()})
        self._refuse_nan(terms)
        self.fire_event(IterationEvents.LOSS_COMPLETED)

        output[Keys.LOSS].backward()
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self.optimizer.step()

    def _step_discriminator(self, image: torch.Tensor, real: torch.Tensor, fake: torch.Tensor) -> None:
        assert self.discriminator_optimizer is not None
        self.discriminator.requires_grad_(True)
        self.discriminator.train()
        self.discriminator_optimizer.zero_grad()
        loss = self._adversarial(self._score(image, real), target_is_real=True, for_discriminator=True)
        loss = loss + self._adversarial(self._score(image, fake), target_is_real=False, for_discriminator=True)
        loss.backward()
        self.discriminator_optimizer.step()
        self.state.output[DISCRIMINATOR] = loss.detach()

    def _judge(self, image: torch.Tensor, fake: torch.Tensor, real: torch.Tensor) -> dict[str, torch.Tensor]:
        """The generator's terms that the discriminator gives."""
        if not self.feature_matching_weight:
            scores = self._score(image, fake)
            return {ADVERSARIAL: self._adversarial(scores, target_is_real=True, for_discriminator=False)}
        assert self.feature_matching_loss is not None
        with self._autocast():
            of_fake = self.discriminator.features(self._seen(image, fake))
            with torch.no_grad():
                of_real = self.discriminator.features(self._seen(image, real))
        multi_scale = isinstance(of_fake[0], list)
        scores = [features[-1].float() for features in of_fake] if multi_scale else of_fake[-1].float()
        return {
            ADVERSARIAL: self._adversarial(scores, target_is_real=True, for_discriminator=False),
            FEATURE_MATCHING: self.feature_matching_weight * self.feature_matching_loss(of_fake, of_real),
        }

    def _score(self, image: torch.Tensor, volume: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        with self._autocast():
            scores = self.discriminator(self._seen(image, volume))
        return [scale.float() for scale in scores] if isinstance(scores, list) else scores.float()

    def _seen(self, image: torch.Tensor, volume: torch.Tensor) -> torch.Tensor:
        """What the discriminator is shown."""
        return torch.cat([expand_views(image, volume.shape[2]), volume], dim=1) if self.conditional else volume

    def _adversarial(
        self, scores: torch.Tensor | list[torch.Tensor], target_is_real: bool, for_discriminator: bool
    ) -> torch.Tensor:
        assert self.adversarial_loss is not None
        return self.adversarial_weight * self.adversarial_loss(scores, target_is_real, for_discriminator)

    def _refuse_nan(self, terms: Mapping[str, torch.Tensor]) -> None:
        for name, term in terms.items():
            if not bool(torch.isfinite(term)):
                raise InputError(
                    f"the loss {name!r} is {float(term)} in epoch {self.state.epoch}; train again with a lower "
                    "--learning_rate"
                )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.state.device.type, dtype=torch.bfloat16, enabled=self.autocast)
