"""Chests made of ellipsoids, whose lungs are known in closed form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

AIR, TISSUE, LUNG, GAS, FOAM = -1000.0, 40.0, -850.0, -1000.0, -900.0

BODY = (160.0, 105.0, 400.0)
"""Half axes of the trunk along x, y and z in mm; its centre is the origin."""

HALF = (48.0, 70.0, 105.0)
"""Half axes of each lung."""

MIDDLE = np.array([9.0, -7.0, 31.0])
"""Middle of the two lungs, LPS in mm, away from the middle of the trunk."""

APART = 130.0
"""Distance between the centres of the two lungs."""

RIGHT, LEFT = (MIDDLE + np.array([side * APART / 2, 0, 0]) for side in (-1, 1))
"""Centres of the lungs."""

LUNGS_ML = 2 * 4 / 3 * np.pi * np.prod(HALF) / 1000

EXTENT = (440.0, 320.0, 360.0)
"""Extent of the scan along x, y and z in mm, around the origin."""


Kind = Callable[[np.ndarray], np.ndarray]
"""A chest: positions (..., 3) in LPS mm -> HU."""


def ellipsoid(points: np.ndarray, centre: np.ndarray, half: tuple[float, ...]) -> np.ndarray:
    """Return where points (..., 3) lie in an ellipsoid."""
    return np.sum(((points - centre) / half) ** 2, -1) < 1


def box(points: np.ndarray, centre: tuple[float, ...], size: tuple[float, ...]) -> np.ndarray:
    """Return where points (..., 3) lie in a box."""
    return np.all(np.abs(points - centre) < np.array(size) / 2, -1)


def plain(points: np.ndarray) -> np.ndarray:
    """Return HU at positions (..., 3) in LPS: a trunk with two lungs."""
    hu = np.where(ellipsoid(points, np.zeros(3), BODY), TISSUE, AIR)
    hu[ellipsoid(points, RIGHT, HALF) | ellipsoid(points, LEFT, HALF)] = LUNG
    return hu


def with_windpipe(points: np.ndarray) -> np.ndarray:
    """Add a trachea that runs from the lungs to the top of the scan."""
    hu = plain(points)
    x, y, z = np.moveaxis(points - MIDDLE, -1, 0)
    hu[(np.hypot(x, y) < 9) & (z > 30)] = GAS
    hu[(np.hypot(y, z - 34) < 7) & (np.abs(x) < APART / 2)] = GAS  # the main bronchi join both lungs
    return hu


def with_bowel_gas(points: np.ndarray) -> np.ndarray:
    """Add a large bubble of gas that touches the lower end of the left lung, and one in the bowel."""
    hu = plain(points)
    hu[ellipsoid(points, LEFT - [15, 0, HALF[2] + 32], (45, 55, 32))] = GAS
    hu[ellipsoid(points, np.array([-60, 0, -140]), (50, 60, 30))] = GAS
    return hu


def with_stool(points: np.ndarray) -> np.ndarray:
    """Add a wide bowel with contents as dense as lung below the lungs."""
    hu = plain(points)
    hu[ellipsoid(points, np.array([0, 0, -125]), (110, 60, 35))] = LUNG
    return hu


def with_table(points: np.ndarray, tilt: float = 0.0) -> np.ndarray:
    """Add a hollow table filled with foam, turned about the patient's long axis."""
    turned = points - [0, 135, 0]
    x, y = turned[..., 0], turned[..., 1]
    turned = np.stack([x + tilt * y, y - tilt * x, turned[..., 2]], -1)
    hu = plain(points)
    outside = ~ellipsoid(points, np.zeros(3), BODY)
    hu[outside & box(turned, (0, 0, 0), (400, 46, 1000))] = 100
    hu[outside & box(turned, (0, 0, 0), (384, 30, 1000))] = FOAM
    return hu


def with_tilted_table(points: np.ndarray) -> np.ndarray:
    """Add a table turned by 6 degrees."""
    return with_table(points, 0.1)


def with_arms(points: np.ndarray) -> np.ndarray:
    """Add arms that touch the trunk and enclose air."""
    hu = plain(points)
    x, y = np.abs(points[..., 0]), np.abs(points[..., 1])
    outer = (np.abs(x - 190) < 20) & (y < 60)
    ends = (np.abs(y - 60) < 20) & (x > 100) & (x < 210)
    hu[(outer | ends) & (hu < -900)] = TISSUE
    return hu


def with_dense_base(points: np.ndarray) -> np.ndarray:
    """Fill the lower two thirds of the right lung."""
    hu = plain(points)
    hu[ellipsoid(points, RIGHT, HALF) & (points[..., 2] < RIGHT[2] + HALF[2] / 3)] = TISSUE
    return hu


def with_one_lung(points: np.ndarray) -> np.ndarray:
    """Fill the whole right lung."""
    hu = plain(points)
    hu[ellipsoid(points, RIGHT, HALF)] = TISSUE
    return hu


def without_lungs(points: np.ndarray) -> np.ndarray:
    """Leave gas in the bowel alone."""
    hu = np.where(ellipsoid(points, np.zeros(3), BODY), TISSUE, AIR)
    hu[ellipsoid(points, np.array([20, 0, -50]), (60, 50, 60))] = GAS
    return hu


def positions(spacing: float) -> np.ndarray:
    """Return where the voxels of `voxels` lie: (D, H, W, 3) LPS in mm."""
    x, y, z = ((np.arange(round(e / spacing)) - (round(e / spacing) - 1) / 2) * spacing for e in EXTENT)
    d, h, w = np.meshgrid(-z, y, x, indexing="ij")
    return np.stack([w, h, d], -1)


def voxels(kind: Kind, spacing: float = 4.0) -> np.ndarray:
    """Sample a chest on the project's axes: (D, H, W) HU, `EXTENT` in all, centred on the origin."""
    return kind(positions(spacing)).astype(np.float32)


def sampled(kind: Kind, affine_ras: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sample a chest where a file has its voxels: (X, Y, Z) HU."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    ras = index @ affine_ras[:3, :3].T + affine_ras[:3, 3]
    return kind(ras * [-1, -1, 1]).astype(np.float32)
