"""The projection loss of X2CT-GAN."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import l1_loss


class ProjectionLoss(nn.Module):
    """L1 distance between orthogonal projections of two volumes, averaged over the three axes (paper, section 3.4).

    A projection is the mean of the absolute values along one axis: parallel rays, not the cone beam of the radiographs.
    """

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compare the projections of two volumes.

        Args:
            prediction: (B, 1, D, H, W).
            target: (B, 1, D, H, W).

        Returns:
            Scalar.
        """
        distances = [l1_loss(prediction.abs().mean(axis), target.abs().mean(axis)) for axis in (2, 3, 4)]
        return torch.stack(distances).mean()
