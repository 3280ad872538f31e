"""Compare the mask of an organ in a predicted volume with that in the true one."""

from __future__ import annotations

import torch
from monai.metrics import compute_dice
from monai.metrics.utils import get_edge_surface_distance

from conventions import InputError

OVERLAP_MEASURES = ("dice", "hd95_mm", "nsd")
"""Names of what `mask_agreement` returns."""

TOLERANCE_MM = 5.0
"""Distance within which surfaces agree for NSD: two voxels of the paper's grid."""

SURFACE_PERCENTILE = 95


def mask_agreement(
    prediction: torch.Tensor, target: torch.Tensor, spacing: float, tolerance_mm: float = TOLERANCE_MM
) -> dict[str, torch.Tensor]:
    """Compute Dice, the 95th percentile of the Hausdorff distance and the normalised surface dice of masks.

    Distances are those of MONAI: from each voxel of one surface to the nearest one of the other, in both directions.

    Args:
        prediction: (B, 1, D, H, W) bool.
        target: (B, 1, D, H, W) bool, same shape.
        spacing: voxel spacing in mm, the same along all axes.
        tolerance_mm: distance within which the surfaces agree for NSD.

    Returns:
        Name -> (B,) float64. `dice`, 0 to 1. `hd95_mm`, the larger of the two directions. `nsd`, the share of both
        surfaces within the tolerance, 0 to 1. Where one mask is empty and the other not, Dice and NSD are 0 and there
        is no distance (NaN); where both are, nothing is measured (NaN).

    Raises:
        InputError: where the shapes differ.
    """
    if prediction.shape != target.shape or prediction.ndim != 5:
        raise InputError(
            f"masks to compare are (B, 1, D, H, W), got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    dice = compute_dice(prediction, target, ignore_empty=False)[:, 0].double()
    rows = []
    for number, (found, true) in enumerate(zip(prediction[:, 0].bool(), target[:, 0].bool(), strict=True)):
        if found.any() and true.any():
            _, distances, _ = get_edge_surface_distance(found, true, spacing=[spacing] * 3, symmetric=True)
            farthest = max(float(torch.quantile(d.double(), SURFACE_PERCENTILE / 100)) for d in distances)
            rows.append([float(dice[number]), farthest, float((torch.cat(distances) <= tolerance_mm).double().mean())])
        else:
            alone = 0.0 if found.any() or true.any() else torch.nan
            rows.append([alone, torch.nan, alone])
    values = torch.tensor(rows, dtype=torch.float64, device=prediction.device)
    return dict(zip(OVERLAP_MEASURES, values.unbind(1), strict=True))
