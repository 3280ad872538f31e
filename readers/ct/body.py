"""Find the patient in a CT, without the table; nothing is learned."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SKIN_HU = -400
"""HU between air and skin; foam and cloth lie below it."""

SHEET_MM = 8.0
"""Thickness below which what touches the patient is a sheet, such as the shell of a table, a wire or a tube."""

MARGIN_MM = 3.0
"""What is kept around what is thick: the skin, rounded off by the search for sheets."""

ARM_SHARE = 0.003
"""Smallest volume of a part that is kept beside the largest one, as a share of it: an arm that the scan shows apart."""


def body_mask(volume_hu: np.ndarray, spacing: float) -> np.ndarray:
    """Segment the patient: what is denser than air, thicker than a sheet, and what that encloses in axial slices.

    The table, clothes, wires and tubes on the skin are left out; arms are kept, apart from the body too, and so is what
    the field of view cuts.

    Args:
        volume_hu: (D, H, W) HU; D runs to the feet, H to the back, W to the patient's left.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        (D, H, W) bool; all False where there is nothing denser than air.
    """
    dense = _filled(volume_hu > SKIN_HU)
    thick = _eroded(dense, SHEET_MM / 2 / spacing)
    parts = _patients_parts(thick)
    grown = _dilated(parts, (SHEET_MM / 2 + MARGIN_MM) / spacing)
    return _filled(grown & dense)


def _patients_parts(thick: np.ndarray) -> np.ndarray:
    """Return the largest part and those that may be arms, whose middle does not lie behind its back."""
    labels, count = ndimage.label(thick)
    if not count:
        return thick
    numbers = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(thick, labels, numbers)
    body = int(np.argmax(sizes))
    back = ndimage.find_objects(labels)[body][1].stop
    heights = np.array(ndimage.center_of_mass(thick, labels, numbers))[:, 1]
    return np.isin(labels, numbers[(sizes >= ARM_SHARE * sizes[body]) & (heights < back)])


def _filled(mask: np.ndarray) -> np.ndarray:
    """Fill what is enclosed in each axial slice."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])


def _eroded(mask: np.ndarray, radius: float) -> np.ndarray:
    """Erode by a ball, as if the mask went on beyond the volume."""
    reach = int(np.ceil(radius))
    beyond = np.pad(mask, reach, mode="edge")
    inner = ndimage.distance_transform_edt(beyond) > radius
    return inner[reach:-reach, reach:-reach, reach:-reach]


def _dilated(mask: np.ndarray, radius: float) -> np.ndarray:
    """Dilate by a ball."""
    return ndimage.distance_transform_edt(~mask) <= radius
