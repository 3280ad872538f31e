"""Pair a discriminator with its optimiser, its schedule and its losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from conventions import InputError, View, expand_views

from .distributed import bare
from .image_pool import ImagePool

ADVERSARIAL = "adversarial"
FEATURE_MATCHING = "feature_matching"
"""Names of the generator's loss terms that the discriminator computes."""


class Adversary:
    """A discriminator with its optimiser, its schedule and its losses.

    A conditional discriminator sees the PA and the lateral radiograph, or the PA alone, each repeated along its rays,
    in front of the volume: (B, views + 1, D, H, W).

    Args:
        discriminator: network that scores volumes; in `DistributedDataParallel` where there are several processes.
        optimizer: optimiser of the discriminator.
        loss: `(scores, target_is_real, for_discriminator) -> scalar`, for example `losses.LSGANLoss`.
        weight: weight of the adversarial loss in both steps; 0.1 in the paper.
        conditional: whether the discriminator sees the radiographs.
        warmup_steps: iterations at the start in which the discriminator learns but does not judge the generator.
        image_pool: mixes earlier predictions into those shown to the discriminator; None shows the new ones.
        feature_matching_loss: `(features of the prediction, features of the truth) -> scalar`, for example
            `losses.FeatureMatchingLoss`; the discriminator's `features` computes them.
        feature_matching_weight: weight of this loss; 0 leaves it out, as the paper does.
        crop: side in voxels of a random cube that is judged instead of the whole volume, to save memory; the
            prediction and the truth of a step are cropped to the same cube. None judges the whole volume.
        lr_scheduler: schedule of the discriminator's learning rate, stepped by the trainer after every epoch.

    Raises:
        ValueError: where a weight comes without its loss.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        optimizer: Optimizer,
        loss: Callable[..., torch.Tensor],
        weight: float = 0.1,
        conditional: bool = True,
        warmup_steps: int = 0,
        image_pool: ImagePool | None = None,
        feature_matching_loss: Callable[..., torch.Tensor] | None = None,
        feature_matching_weight: float = 0.0,
        crop: int | None = None,
        lr_scheduler: Any = None,
    ) -> None:
        if feature_matching_weight and feature_matching_loss is None:
            raise ValueError("feature_matching_weight needs feature_matching_loss")
        self.discriminator: Any = discriminator
        self.optimizer = optimizer
        self.loss = loss
        self.weight = weight
        self.conditional = conditional
        self.warmup_steps = warmup_steps
        self.image_pool = image_pool
        self.feature_matching_loss = feature_matching_loss
        self.feature_matching_weight = feature_matching_weight
        self.crop = crop
        self.lr_scheduler = lr_scheduler

    def seen(self, image: torch.Tensor, *volumes: torch.Tensor) -> list[torch.Tensor]:
        """Return the part of each volume of one step that the discriminator is shown.

        Args:
            image: radiographs (B, views, rows, columns).
            volumes: (B, 1, D, H, W) each.

        Returns:
            (B, channels, d, h, w) each, all cropped to the same place.

        Raises:
            InputError: where the discriminator is conditional and there are more than two views.
        """
        shown = list(volumes)
        if self.conditional:
            if image.shape[1] > len(View):
                raise InputError(
                    "a conditional discriminator needs a PA and a lateral radiograph, or a PA alone, and this run has "
                    f"{image.shape[1]} views; give --adversary::conditional False --discriminator_def::in_channels 1"
                )
            lifted = expand_views(image, volumes[0].shape[2])
            shown = [torch.cat([lifted, volume], dim=1) for volume in volumes]
        if self.crop is None:
            return shown
        starts = [int(torch.randint(size - self.crop + 1, ())) for size in volumes[0].shape[2:]]
        z, y, x = (slice(start, start + self.crop) for start in starts)
        return [volume[..., z, y, x] for volume in shown]

    def judge(self, image: torch.Tensor, fake: torch.Tensor, real: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        """Compute the generator's loss terms.

        Args:
            image: radiographs (B, views, rows, columns).
            fake: the prediction (B, 1, D, H, W), with its gradients.
            real: the truth (B, 1, D, H, W).
            step: number of the iteration, from 1.

        Returns:
            name -> weighted scalar.
        """
        if step <= self.warmup_steps:
            names = [ADVERSARIAL] + [FEATURE_MATCHING] * bool(self.feature_matching_weight)
            return {name: fake.new_zeros(()) for name in names}
        judge = bare(self.discriminator)  # frozen, so it has no gradients of its own to exchange
        if not self.feature_matching_weight:
            scores = judge(*self.seen(image, fake))
            return {ADVERSARIAL: self._weighted(scores, target_is_real=True, for_discriminator=False)}
        assert self.feature_matching_loss is not None
        shown_fake, shown_real = self.seen(image, fake, real)
        of_fake = judge.features(shown_fake)
        with torch.no_grad():
            of_real = judge.features(shown_real)
        scores = [features[-1] for features in of_fake] if isinstance(of_fake[0], list) else of_fake[-1]
        return {
            ADVERSARIAL: self._weighted(scores, target_is_real=True, for_discriminator=False),
            FEATURE_MATCHING: self.feature_matching_weight * self.feature_matching_loss(of_fake, of_real),
        }

    def own_loss(self, image: torch.Tensor, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Compute the discriminator's own loss, weighted.

        Args:
            image: radiographs (B, views, rows, columns).
            fake: the prediction (B, 1, D, H, W), without gradients.
            real: the truth (B, 1, D, H, W).
        """
        shown_real, shown_fake = self.seen(image, real, fake)
        if self.image_pool is not None:
            shown_fake = self.image_pool.query(shown_fake)
        loss = self._weighted(self.discriminator(shown_real), target_is_real=True, for_discriminator=True)
        return loss + self._weighted(self.discriminator(shown_fake), target_is_real=False, for_discriminator=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the discriminator, its optimiser and, where there are any, its schedule and pool."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state_dict` was called.

        Raises:
            KeyError: where this adversary has a schedule or a pool and the state has none.
        """
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts = {
            "discriminator": bare(self.discriminator),
            "optimizer": self.optimizer,
            "lr_scheduler": self.lr_scheduler,
            "image_pool": self.image_pool,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _weighted(self, scores: Any, target_is_real: bool, for_discriminator: bool) -> torch.Tensor:
        scores = [scale.float() for scale in scores] if isinstance(scores, list) else scores.float()
        return self.weight * self.loss(scores, target_is_real, for_discriminator)
