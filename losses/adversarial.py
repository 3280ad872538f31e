"""The adversarial loss of least-squares GANs, and the distance between the discriminator's features of two volumes."""

from __future__ import annotations

from typing import Any

import torch
from monai.losses import PatchAdversarialLoss
from monai.utils import LossReduction
from torch import nn
from torch.nn.functional import l1_loss

Features = list[torch.Tensor] | list[list[torch.Tensor]]
"""Outputs of the layers of a discriminator, the scores last; or a list of them, one for each scale."""


class LSGANLoss(PatchAdversarialLoss):
    """Mean squared distance of raw patch scores to 1 (real) or 0 (fake), as in X2CT-GAN.

    This is MONAI's loss without the activation that it applies by default. The losses of several scales are summed, as
    the authors do, where MONAI averages them.

    Args:
        reduction: reduction over the patches of a scale, "mean" (the paper's) or "sum".
    """

    def __init__(self, reduction: LossReduction | str = LossReduction.MEAN) -> None:
        super().__init__(reduction=reduction, criterion="least_squares", no_activation_leastsq=True)

    def forward(
        self, scores: torch.Tensor | list[torch.Tensor], target_is_real: bool, for_discriminator: bool
    ) -> torch.Tensor:
        """Compute the loss of scores.

        Args:
            scores: (B, 1, *patches), or a list of them, one for each scale.
            target_is_real: whether the scores should be 1.
            for_discriminator: whether the loss is that of the discriminator, not of the generator.

        Returns:
            Scalar.
        """
        scales = scores if isinstance(scores, list) else [scores]
        losses = [super(LSGANLoss, self).forward(scale, target_is_real, for_discriminator) for scale in scales]
        return torch.stack(losses).sum()


class FeatureMatchingLoss(nn.Module):
    """L1 distance between the features that a discriminator computes of a prediction and of the truth.

    As in pix2pixHD (Wang et al., CVPR 2018, section 3.2) and in the X2CT authors' code: the sum over all layers but the
    last, which gives the scores, times 4 / (number of convolutions - 1), averaged over the scales.
    """

    def forward(self, prediction: Features, target: Features) -> torch.Tensor:
        """Compare features.

        Args:
            prediction: `PatchDiscriminator.features` of the prediction, or a list of them, one for each scale.
            target: the same of the truth; it gets no gradient.

        Returns:
            Scalar.
        """
        return torch.stack([_distance(a, b) for a, b in zip(_scales(prediction), _scales(target), strict=True)]).mean()


def _scales(features: Any) -> list[list[torch.Tensor]]:
    return features if isinstance(features[0], list) else [features]


def _distance(prediction: list[torch.Tensor], target: list[torch.Tensor]) -> torch.Tensor:
    layers = [l1_loss(a, b.detach()) for a, b in zip(prediction[:-1], target[:-1], strict=True)]
    return 4 / len(layers) * torch.stack(layers).sum()
