"""Check that an image is a chest CT in HU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conventions import InputError

MIN_EXTENT_MM = 100.0
"""Smallest extent of a chest CT along any axis."""

AIR_HU = (-1100.0, -500.0)
"""Range of air and lung in HU; scanner padding (-2000 and below) lies outside."""

TISSUE_HU = (-200.0, 300.0)
"""Range of fat and soft tissue in HU."""

MIN_SHARE = 0.01
"""Smallest share of the voxels of a chest CT in each of the two ranges; an image with less is not in HU."""


def check_axes(file: Path, affine: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse axes that are not finite or independent, and a volume too small for a thorax.

    Args:
        file: named in the error.
        affine: (4, 4) voxel index to position in mm.
        shape: voxels along the three axes.

    Raises:
        InputError: naming the file and what is wrong.
    """
    steps = affine[:3, :3]
    spacing = np.linalg.norm(steps, axis=0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(steps)) < 1e-3 * spacing.prod():
        raise InputError(f"{file}: its affine holds no usable axes (spacing {spacing.tolist()} mm); export it again")
    extent = spacing * shape
    if extent.min() < MIN_EXTENT_MM:
        size = " x ".join(f"{e:.0f}" for e in extent)
        raise InputError(f"{file}: covers only {size} mm, too little for a thorax; give a CT of the whole chest")


def check_hu(file: Path, voxels: np.ndarray) -> None:
    """Refuse voxels that are not finite, or whose values are not those of a chest CT in HU.

    Args:
        file: named in the error.
        voxels: values as stored, rescaled by the file's own slope and intercept; any shape.

    Raises:
        InputError: naming the file and the values met.
    """
    broken = int(np.count_nonzero(~np.isfinite(voxels)))
    if broken:
        raise InputError(
            f"{file}: {broken} voxels are not finite (NaN or infinite); repair them or export the CT again"
        )
    shares = [np.mean((voxels > low) & (voxels < high)) for low, high in (AIR_HU, TISSUE_HU)]
    if min(shares) < MIN_SHARE:
        raise InputError(
            f"{file}: values run from {voxels.min():g} to {voxels.max():g}, {shares[0]:.0%} of them like air or lung "
            f"and {shares[1]:.0%} like tissue, so this is not a chest CT in Hounsfield units "
            "(air about -1000, tissue about 0); apply the rescale slope and intercept first"
        )
