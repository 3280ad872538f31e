"""Measure errors in Hounsfield units: over the cube, inside the body and by tissue."""

from __future__ import annotations

import torch

HU_BANDS = {
    "air": (-torch.inf, -900.0),
    "lung": (-900.0, -500.0),
    "fat": (-150.0, -30.0),
    "soft": (-30.0, 150.0),
    "bone": (150.0, torch.inf),
}
"""Tissue -> (low, high) of the true HU, low included. What lies between lung and fat is the blurred rim of the lungs
and belongs to none."""

HU_ERRORS = ("mae_hu", "rmse_hu", "body_mae_hu", *(f"{band}_mae_hu" for band in HU_BANDS))
"""Names of what `hu_errors` returns."""


def masked_mae(prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Compute the mean absolute error over the voxels of a mask.

    Args:
        prediction: (B, ...), any unit.
        target: (B, ...), same unit and shape.
        mask: (B, ...) bool, same shape.

    Returns:
        (B,) float64 in the unit of the volumes; NaN where the mask is empty.
    """
    inside = mask.flatten(1)
    error = (prediction - target).abs().flatten(1)
    return torch.where(inside, error, 0).sum(1, dtype=torch.float64) / inside.sum(1)


def hu_errors(prediction_hu: torch.Tensor, target_hu: torch.Tensor, body: torch.Tensor) -> dict[str, torch.Tensor]:
    """Compute the errors in HU overall, inside the body and for the tissues of `HU_BANDS`.

    Args:
        prediction_hu: (B, 1, D, H, W) HU.
        target_hu: (B, 1, D, H, W) HU.
        body: (B, 1, D, H, W) bool, the patient in the true volume.

    Returns:
        Name -> (B,) float64 in HU: `mae_hu` and `rmse_hu` over the cube, `body_mae_hu` inside the body, and
        `<tissue>_mae_hu` where the true value lies in the tissue's band inside the body (air: anywhere); NaN where
        there is none.
    """
    everywhere = torch.ones_like(body)
    square = (prediction_hu - target_hu).square().flatten(1).mean(1, dtype=torch.float64)
    values = {
        "mae_hu": masked_mae(prediction_hu, target_hu, everywhere),
        "rmse_hu": square.sqrt(),
        "body_mae_hu": masked_mae(prediction_hu, target_hu, body),
    }
    for band, (low, high) in HU_BANDS.items():
        region = (target_hu >= low) & (target_hu < high) & (everywhere if band == "air" else body)
        values[f"{band}_mae_hu"] = masked_mae(prediction_hu, target_hu, region)
    return values
