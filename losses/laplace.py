"""Loss of an estimated error."""

from __future__ import annotations

import torch
from torch import nn


class LaplaceLoss(nn.Module):
    """Negative logarithm of the likelihood of errors under Laplace distributions of the estimated scales.

    It is least where the scale is the expected absolute error: -log p(e) = |e| / b + log(2 b) for an error e and a
    scale b.
    """

    def forward(self, scale: torch.Tensor, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Compute the mean over all voxels.

        Args:
            scale: expected absolute error (B, 1, D, H, W), positive.
            prediction: (B, 1, D, H, W); it receives no gradient.
            target: (B, 1, D, H, W).

        Returns:
            Scalar.
        """
        return ((prediction.detach() - target).abs() / scale + torch.log(2 * scale)).mean()
