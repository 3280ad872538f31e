"""The voxel grid of a volume, centred on the isocentre."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conventions import AXIS_DIRECTIONS_LPS, LPS_TO_RAS, InputError

MAX_VOXELS = 1024**3
"""Largest number of voxels of a grid, 4 GiB in float32: a chest of 400 mm at 0.4 mm."""


@dataclass(frozen=True)
class VolumeGrid:
    """The voxel grid of a volume (D, H, W), centred on the isocentre.

    Args:
        shape: voxels along D (to the feet), H (to the back) and W (to the left); one number for a cube.
        spacing: voxel spacing in mm along the same axes; one number for all.

    Raises:
        InputError: where a size is not a positive integer, a spacing is not a positive number, or there are more than
            `MAX_VOXELS`.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    def __init__(self, shape: int | Sequence[int], spacing: float | Sequence[float]) -> None:
        shape = (shape,) * 3 if isinstance(shape, int) else shape
        steps = np.atleast_1d(np.asarray(spacing, dtype=float)).tolist()
        steps = steps * 3 if len(steps) == 1 else steps
        if len(shape) != 3 or any(not math.isfinite(n) or n != int(n) or n < 1 for n in shape):
            raise InputError(f"a grid's shape must be three positive integers (D, H, W), got {shape!r}")
        if math.prod(map(int, shape)) > MAX_VOXELS:
            size = " x ".join(f"{int(n)}" for n in shape)
            raise InputError(
                f"a grid of {size} voxels is larger than 1024 x 1024 x 1024: give fewer, or a larger spacing"
            )
        if len(steps) != 3 or any(not math.isfinite(s) or s <= 0 for s in steps):
            raise InputError(f"a grid's spacing must be one or three positive numbers in mm, got {spacing!r}")
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "spacing", tuple(float(s) for s in steps))

    @property
    def size(self) -> tuple[float, float, float]:
        """Extent in mm along (D, H, W), from outer face to outer face of the voxels."""
        d, h, w = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        return d, h, w

    def affine(self, centre_lps: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0)) -> np.ndarray:
        """Return the affine from a voxel index (d, h, w) to the RAS position in mm, as NIfTI files and MONAI keep it.

        Args:
            centre_lps: patient position (x, y, z) of the grid's centre in mm, LPS.

        Returns:
            (4, 4) float64.
        """
        steps_lps = np.array(AXIS_DIRECTIONS_LPS).T * self.spacing
        first_voxel = np.asarray(centre_lps, dtype=float) - steps_lps @ ((np.array(self.shape) - 1) / 2)
        affine = np.eye(4)
        affine[:3, :3] = np.array(LPS_TO_RAS)[:, None] * steps_lps
        affine[:3, 3] = LPS_TO_RAS * first_voxel
        return affine + 0.0  # no negative zeros

    def positions_lps(self, voxels: np.ndarray) -> np.ndarray:
        """Find the positions of voxels in the patient frame.

        Args:
            voxels: (N, 3) indices (d, h, w), fractions allowed.

        Returns:
            (N, 3) float64, (x, y, z) in mm, LPS, isocentre at the origin.
        """
        affine = self.affine()
        return (np.asarray(voxels, dtype=float) @ affine[:3, :3].T + affine[:3, 3]) * LPS_TO_RAS

    @property
    def corners_lps(self) -> np.ndarray:
        """The eight corners of the box, at the outer faces of its voxels: (8, 3) in mm, LPS."""
        d, h, w = self.size
        return np.array([[x, y, z] for x in (-w / 2, w / 2) for y in (-h / 2, h / 2) for z in (-d / 2, d / 2)])
