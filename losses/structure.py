"""The loss that preserves the edges of a film in its translation."""

from __future__ import annotations

import torch
from torch import nn

SMALLEST = 1e-8
"""Constant added to norms, so that a constant image has a finite gradient."""


class GradientCorrelationLoss(nn.Module):
    """1 minus the correlation of the gradients of an image and of its translation (Hiasa et al. 2018).

    Pearson's correlation of the differences of neighbouring pixels is averaged over both axes. The loss is 0 where one
    image is a rising linear function of the other, 2 where it is a falling one.
    """

    def forward(self, image: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
        """Compare an image with its translation.

        Args:
            image: (B, C, rows, columns).
            translation: the same shape.

        Returns:
            Scalar in [0, 2].
        """
        correlations = [_correlation(image.diff(dim=axis), translation.diff(dim=axis)) for axis in (-2, -1)]
        return 1 - torch.stack(correlations).mean()


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    a, b = (t.flatten(1) - t.flatten(1).mean(1, keepdim=True) for t in (a, b))
    norms = (a.square().sum(1) + SMALLEST).sqrt() * (b.square().sum(1) + SMALLEST).sqrt()
    return ((a * b).sum(1) / norms).mean()
