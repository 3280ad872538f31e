"""Bring a scan to straight axes and one spacing, slab by slab, so that memory stays that of the scan."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from conventions import HU_AIR, LPS_TO_RAS
from drr import VolumeGrid
from transforms import BLUR_PER_FACTOR

SLAB = 32
"""Number of slices that are resampled at a time."""

KERNEL = f"trilinear, after a Gaussian of {BLUR_PER_FACTOR} source voxels per factor along axes that become coarser"
"""The kernel in words, for the manifest."""


def straight_grid(shape: tuple[int, ...], affine: np.ndarray, spacing: float) -> tuple[VolumeGrid, np.ndarray]:
    """Find the grid of straight axes that covers a scan.

    Args:
        shape: (X, Y, Z) of the scan.
        affine: (4, 4) voxel index to RAS in mm; axes may lean.
        spacing: mm.

    Returns:
        The grid, and the patient position (x, y, z) of its centre in mm, LPS.
    """
    corners = np.stack(np.meshgrid(*([-0.5, n - 0.5] for n in shape), indexing="ij")).reshape(3, 8)
    places = (affine[:3, :3] @ corners + affine[:3, 3:]).T * LPS_TO_RAS
    low, high = places.min(0), places.max(0)
    size = [max(1, math.floor(extent / spacing + 1e-6)) for extent in (high - low)[::-1]]
    return VolumeGrid(size, spacing), (low + high) / 2


def resample(
    volume_hu: np.ndarray, affine: np.ndarray, grid: VolumeGrid, centre_lps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Resample a scan onto a grid.

    Args:
        volume_hu: (X, Y, Z) HU, int16 or float32.
        affine: (4, 4) voxel index to RAS in mm.
        grid: the grid, (D, H, W).
        centre_lps: patient position of its centre in mm.

    Returns:
        (D, H, W) int16 HU, air where the scan did not reach, and its affine (4, 4), RAS in mm.
    """
    target = grid.affine(centre_lps)
    step = np.linalg.inv(affine) @ target  # voxel of the grid -> voxel of the scan
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factor = min(grid.spacing) / spacing
    sigma = [BLUR_PER_FACTOR * f if f > 1 else 0.0 for f in factor]
    reach = np.array([math.ceil(3 * s) + 1 for s in sigma])
    made = np.empty(grid.shape, np.int16)
    for first in range(0, grid.shape[0], SLAB):
        last = min(first + SLAB, grid.shape[0])
        box = _covered(step, (first, last), grid.shape, reach, volume_hu.shape)
        if any(edge.stop <= edge.start for edge in box):
            made[first:last] = HU_AIR
            continue
        part = volume_hu[box].astype(np.float32, copy=False)
        if any(sigma):
            part = ndimage.gaussian_filter(part, sigma, mode="nearest", truncate=3.0)
        offset = step[:3, :3] @ [first, 0, 0] + step[:3, 3] - [edge.start for edge in box]
        shape = (last - first, *grid.shape[1:])
        values = ndimage.affine_transform(
            part, step[:3, :3], offset, shape, order=1, mode="constant", cval=HU_AIR, output=np.float32
        )
        made[first:last] = np.rint(values, out=values)
    return made, target


def _covered(
    step: np.ndarray, slab: tuple[int, int], shape: tuple[int, ...], reach: np.ndarray, scan: tuple[int, ...]
) -> tuple[slice, ...]:
    """Return the part of the scan that a slab of the grid needs."""
    ends = [(slab[0], slab[1] - 1), *((0, n - 1) for n in shape[1:])]
    corners = np.stack(np.meshgrid(*ends, indexing="ij")).reshape(3, 8)
    places = step[:3, :3] @ corners + step[:3, 3:]
    low = np.clip(np.floor(places.min(1)).astype(int) - reach, 0, scan)
    high = np.clip(np.ceil(places.max(1)).astype(int) + reach + 1, 0, scan)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
