"""Measure the volumes of the right and the left lung."""

from __future__ import annotations

import torch
from scipy import ndimage

LUNG_MEASURES = ("lung_right_ml", "lung_left_ml", "lung_total_ml")
"""Names of what `lung_volumes` returns."""

LEAST_SHARE = 0.1
"""Smallest core of a lung, as a share of the larger one."""

DEEPEST_MM = 20.0
"""Depth to which lungs are eroded until they come apart; where they do not, the middle of their box divides them."""


def split_lungs(lungs: torch.Tensor, spacing: float) -> torch.Tensor:
    """Divide the mask of both lungs into right and left.

    The mask is eroded until two cores come apart that lie beside each other; each voxel belongs to the nearer core. The
    trachea goes with the lung that it is nearer to.

    Args:
        lungs: (D, H, W) bool; W runs from the patient's right to the left.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        (2, D, H, W) bool: right, left. A lung that stands alone is on its side of the middle of the volume.
    """
    mask = lungs.cpu().numpy()
    if not mask.any():
        return torch.stack([lungs, lungs])
    [box] = ndimage.find_objects(mask.astype("uint8"))
    part = mask[box]
    depth = ndimage.distance_transform_edt(part, sampling=spacing)
    for step in range(int(DEEPEST_MM / spacing) + 1):
        cores, count = ndimage.label(depth > step * spacing)
        sizes = ndimage.sum_labels(cores > 0, cores, range(1, count + 1))
        order = sizes.argsort()[::-1]
        if count < 2 or sizes[order[1]] < LEAST_SHARE * sizes[order[0]]:
            continue
        pair = [int(order[0]) + 1, int(order[1]) + 1]
        columns = [ndimage.center_of_mass(cores == core)[2] for core in pair]
        if abs(columns[0] - columns[1]) > part.shape[2] / 4:
            distances = [ndimage.distance_transform_edt(cores != core) for core in pair]
            first = distances[0] <= distances[1]
            right = first if columns[0] < columns[1] else ~first
            break
    else:
        width = box[2].stop - box[2].start
        alone = width < mask.shape[2] / 3
        middle = mask.shape[2] / 2 - box[2].start if alone else width / 2
        right = (torch.arange(width).numpy() < middle) & part.any(axis=(0, 1), keepdims=True)
    sides = torch.zeros((2, *mask.shape), dtype=torch.bool)
    sides[(0, *box)] = torch.from_numpy(part & right)
    sides[(1, *box)] = torch.from_numpy(part & ~right)
    return sides.to(lungs.device)


def lung_volumes(lungs: torch.Tensor, spacing: float) -> dict[str, torch.Tensor]:
    """Compute the volumes of the lungs.

    Args:
        lungs: (B, 1, D, H, W) bool; W runs from the patient's right to the left.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        `lung_right_ml`, `lung_left_ml` and `lung_total_ml`, each (B,) float64; 0 where there are none.
    """
    sides = torch.stack([split_lungs(mask[0], spacing) for mask in lungs])
    volumes = sides.flatten(2).sum(2).double() * spacing**3 / 1000
    return dict(zip(LUNG_MEASURES, [*volumes.unbind(1), volumes.sum(1)], strict=True))
