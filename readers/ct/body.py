"""Find the patient in a CT, without the table; nothing is learned."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .morphology import dilated, eroded, filled

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
    dense = filled(volume_hu > SKIN_HU)
    parts = _patients_parts(eroded(dense, SHEET_MM / 2 / spacing))
    grown = dilated(parts, (SHEET_MM / 2 + MARGIN_MM) / spacing)
    return filled(grown & dense)


def _patients_parts(thick: np.ndarray) -> np.ndarray:
    """Return the largest part and those that may be arms, whose middle does not lie behind its back."""
    labels, count = ndimage.label(thick)
    if not count:
        return thick
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    boxes = ndimage.find_objects(labels)
    body = int(np.argmax(sizes))
    back = boxes[body - 1][1].stop
    kept = np.zeros(count + 1, bool)
    for number in np.flatnonzero(sizes >= ARM_SHARE * sizes[body]):
        box = boxes[number - 1]
        depths = (labels[box] == number).sum((0, 2))
        kept[number] = np.average(np.arange(box[1].start, box[1].stop), weights=depths) < back
    return kept[labels]
