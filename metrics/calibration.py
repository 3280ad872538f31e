"""Measure whether expected errors are as large as the errors are."""

from __future__ import annotations

import torch

BANDS = (1.0, 2.0, 3.0)
"""Multiples of the expected error within which errors are counted."""

LAPLACE_SHARES = (0.6321, 0.8647, 0.9502)
"""Share of a Laplace distribution within each of `BANDS`: 1 - exp(-k) for k scales."""

KEPT = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1)
"""Shares of the voxels, those of the smallest expected errors, whose mean error makes the sparsification curve."""


def calibration(
    expected_error: torch.Tensor, prediction: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compare expected with actual errors.

    Args:
        expected_error: (B, 1, D, H, W), positive, in the unit of the volumes.
        prediction: (B, 1, D, H, W).
        target: (B, 1, D, H, W).

    Returns:
        The share of voxels whose absolute error lies within each of `BANDS` times the expected one (B, bands); and the
        mean absolute error of the voxels with the smallest expected errors, for each share of `KEPT` (B, shares). A
        curve that falls says that the surest voxels are the best.
    """
    scale, error = expected_error.flatten(1), (prediction - target).abs().flatten(1)
    within = torch.stack([(error <= band * scale).double().mean(1) for band in BANDS], 1)
    surest_first = error.gather(1, scale.argsort(1)).double().cumsum(1)
    counts = torch.tensor([max(1, round(share * error.shape[1])) for share in KEPT], device=error.device)
    return within, surest_first[:, counts - 1] / counts
