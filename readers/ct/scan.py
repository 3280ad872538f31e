"""CT as it is read: HU, where they lie, and the decisions behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conventions import HU_AIR, HU_MAX

from ..record import DecisionRecord
from .checks import check_axes, check_finite
from .field import fill_outside
from .hounsfield import check_hu, undo_offset

CT_LOG = "x2ct.ct"
"""Logger of the doubts about CTs."""


@dataclass
class Scan:
    """A CT as it is read.

    Args:
        volume_hu: (X, Y, Z) HU in the file's own axes, within the 12-bit range of a CT, [-1024, 3071]; int16 where the
            file holds whole numbers, else float32.
        affine: (4, 4) voxel index to RAS in mm. Axes may lean, as with a tilted gantry; resampling straightens them.
        record: every decision about the CT.
    """

    volume_hu: np.ndarray
    affine: np.ndarray
    record: DecisionRecord


def finish_scan(file: Path, voxels: np.ndarray, affine: np.ndarray, record: DecisionRecord) -> Scan:
    """Check what was read, and bring it to HU within the range of a CT.

    Args:
        file: named in errors.
        voxels: (X, Y, Z) in HU, by the file, int16 or float32; changed in place.
        affine: (4, 4) voxel index to RAS in mm.
        record: takes the decisions.

    Returns:
        The CT.

    Raises:
        InputError: where values are not finite or not HU, or the axes are not those of a chest CT.
    """
    check_axes(file, affine, voxels.shape, record)
    check_finite(file, voxels)
    undo_offset(voxels, record)
    check_hu(file, voxels, record)
    fill_outside(voxels, record)
    return Scan(np.clip(voxels, int(HU_AIR), int(HU_MAX), out=voxels), affine, record)
