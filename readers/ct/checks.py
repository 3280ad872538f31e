"""Check where a CT lies and how large it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conventions import InputError

from ..record import DecisionRecord

MIN_EXTENT_MM, MAX_EXTENT_MM = 100.0, 2500.0
"""Smallest and largest extent of a chest CT along any axis; the largest is that of a patient from head to feet."""

LONG_MM = 700.0
"""Extent from head to feet above which a CT shows much more than a chest."""

LEAN_DEGREES = 0.1
"""Smallest lean of the axes that is worth a decision; it moves a slice 300 mm away by half a millimetre."""

MAX_VOXELS = 2**30
"""Largest number of voxels that is read: 4 GiB as float32."""

MIN_INDEPENDENCE = 1e-3
"""Smallest volume of a voxel, as a share of the product of its sides, of axes that count as independent."""


def check_size(file: Path, shape: tuple[int, ...]) -> None:
    """Refuse a shape that is not that of a volume, before anything is allocated for it.

    Args:
        file: named in the error.
        shape: voxels along each axis.

    Raises:
        InputError: where there are not three axes of several voxels each, or too many voxels.
    """
    text = " x ".join(map(str, shape))
    if len(shape) != 3:
        raise InputError(f"{file}: has {len(shape)} dimensions ({text}), a CT has 3; extract one volume")
    if min(shape) < 1:
        raise InputError(f"{file}: claims {text} voxels, so there is no volume; export it again")
    if min(shape) < 2:
        raise InputError(f"{file}: is a single slice of {text} voxels; give the whole CT")
    if int(np.prod(shape, dtype=object)) > MAX_VOXELS:
        raise InputError(f"{file}: claims {text} voxels, more than any chest CT; export it again, or crop it")


def plausible_extent(affine: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Return whether a volume has the size of a patient or of a part of one, in mm."""
    extent = np.linalg.norm(affine[:3, :3], axis=0) * shape
    return bool(np.isfinite(extent).all() and extent.min() >= MIN_EXTENT_MM and extent.max() <= MAX_EXTENT_MM)


def check_axes(file: Path, affine: np.ndarray, shape: tuple[int, ...], record: DecisionRecord) -> None:
    """Refuse axes that are not finite or independent, and a volume too small or too large for a patient.

    Args:
        file: named in the error.
        affine: (4, 4) voxel index to RAS in mm.
        shape: voxels along the three axes.
        record: takes a lean of the axes, and a doubt about a scan that is much longer than a chest.

    Raises:
        InputError: naming the file and what is wrong.
    """
    steps = affine[:3, :3]
    spacing = np.linalg.norm(steps, axis=0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(steps)) <= MIN_INDEPENDENCE * spacing.prod():
        raise InputError(f"{file}: its affine holds no usable axes (spacing {spacing.tolist()} mm); export it again")
    extent = spacing * shape
    size = " x ".join(f"{e:.0f}" for e in extent)
    if extent.min() < MIN_EXTENT_MM:
        raise InputError(f"{file}: covers only {size} mm, too little for a thorax; give a CT of the whole chest")
    if extent.max() > MAX_EXTENT_MM:
        raise InputError(
            f"{file}: covers {size} mm, more than a patient; its spacing or the unit of its spacing is wrong, export "
            "it again in mm"
        )
    cosines = (steps / spacing).T @ (steps / spacing) - np.eye(3)
    lean = float(np.degrees(np.arcsin(np.abs(cosines).max())))
    if lean > LEAN_DEGREES:
        record.found(
            "tilt",
            f"the axes lean by {lean:.1f} degrees, as with a tilted gantry; the affine keeps it, and linear resampling "
            "to the grid straightens them",
        )
    height = float(np.abs(steps[2]) @ shape)
    if height > LONG_MM:
        record.doubt(
            "extent",
            f"{height:.0f} mm from head to feet, more than a chest; crop it, or lay it by its lungs (anchor lungs)",
        )


def check_finite(file: Path, voxels: np.ndarray) -> None:
    """Refuse voxels that are not finite.

    Args:
        file: named in the error.
        voxels: (X, Y, Z) values.

    Raises:
        InputError: with their number.
    """
    broken = sum(int(np.count_nonzero(~np.isfinite(plane))) for plane in np.moveaxis(voxels, -1, 0))
    if broken:
        raise InputError(
            f"{file}: {broken} voxels are not finite (NaN or infinite); repair them or export the CT again"
        )
