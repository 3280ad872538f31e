"""What the authors of X2CT-GAN do to a CT and its radiographs, array by array.

Their CT is stored as HU + 1024, so that air is 0. Written from a description of their code, and held to numbers that
their code computed (tests/cohort/test_x2ct_protocol.py). How the cube of 320 voxels became the 256 of their files is
not published.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

OFFSET = 1024
"""What the authors add to HU."""

CUBE = 320
"""Voxels of 1 mm per side of the authors' cube."""

CT_MAX = 2500
"""Stored value of the CT that becomes 1; 0 becomes 0, and what lies outside is clipped."""

RADIOGRAPH_MAX = 255
"""Stored value of a radiograph that becomes 1."""

DECIMALS = 6
"""Decimals to which the authors round what their network reads."""


def resample_to_1mm(volume: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Resample a CT to voxels of about 1 mm, by cubic splines whose ends are the centres of the outer voxels.

    Args:
        volume: any three axes.
        spacing: mm along the same axes.

    Returns:
        Volume of the same dtype, so that integers are rounded; and its spacing, which is 1 mm as nearly as a whole
        number of voxels allows.
    """
    steps = np.asarray(spacing, dtype=float)
    factor = np.round(volume.shape * steps) / volume.shape
    resampled = volume if (factor == 1).all() else ndimage.zoom(volume, factor, mode="nearest")
    return resampled, steps / factor


def crop_to_cube(volume: np.ndarray, size: int = CUBE) -> np.ndarray:
    """Cut a CT to a cube, or fill it up with 0.

    Args:
        volume: (z, y, x), z from feet to head. Of z the end towards the head stays, of y and x the middle; filling is
            added half before and half after.
        size: voxels per side.

    Returns:
        (size, size, size), same dtype.
    """
    surplus = [max(0, count - size) for count in volume.shape]
    first = [surplus[0], surplus[1] // 2, surplus[2] // 2]
    kept = volume[tuple(slice(start, start + size) for start in first)]
    missing = [size - count for count in kept.shape]
    return np.pad(kept, [(count // 2, count - count // 2) for count in missing])


def network_ct(stored: np.ndarray, size: int = 128) -> np.ndarray:
    """Compute the unit volume that the authors' network learns from a stored CT.

    Args:
        stored: (D, H, W), HU + 1024. Integers are rounded when they are resized.
        size: voxels per side.

    Returns:
        (size, size, size) float32 in [0, 1].
    """
    return _unit(np.clip(_resize(stored, size), 0, CT_MAX), CT_MAX)


def network_radiograph(stored: np.ndarray, size: int = 128) -> np.ndarray:
    """Compute the image that the authors' network reads from a stored radiograph.

    Args:
        stored: (rows, columns), 0 to 255. Integers are rounded when they are resized.
        size: pixels per side.

    Returns:
        (size, size) float32 in [0, 1].
    """
    return _unit(_resize(stored, size), RADIOGRAPH_MAX)


def _resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize linearly, the centres of the outer voxels onto each other, without a blur."""
    return ndimage.zoom(image, [size / count for count in image.shape], order=1)


def _unit(image: np.ndarray, maximum: int) -> np.ndarray:
    """Divide by the maximum and round; integers are divided as float32, which decides about some last decimals."""
    values = image if image.dtype.kind == "f" else image.astype(np.float32)
    return np.round(values / values.dtype.type(maximum), DECIMALS).astype(np.float32)
