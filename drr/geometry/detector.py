"""A flat detector somewhere in space: what cone and parallel beams share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from conventions import InputError

from ..grid import VolumeGrid

Vector = tuple[float, float, float]

MAX_PIXELS = 8192**2
"""Largest number of pixels of a detector: a film of 430 mm at 0.05 mm."""


def vector(name: str, value: Sequence[float]) -> Vector:
    """Check a position or direction and return it as three floats.

    Args:
        name: name of the argument, for the message.
        value: (x, y, z).

    Raises:
        InputError: where it is not three finite numbers.
    """
    numbers = tuple(float(v) + 0.0 for v in value)  # + 0.0 turns -0.0 into 0.0
    if len(numbers) != 3 or not all(math.isfinite(v) for v in numbers):
        raise InputError(f"{name} must be three finite numbers (x, y, z) in mm, got {value!r}")
    return numbers


def plus(a: Vector, b: Vector) -> Vector:
    """Add two vectors."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def scaled(a: Vector, factor: float) -> Vector:
    """Multiply a vector by a number."""
    return a[0] * factor, a[1] * factor, a[2] * factor


def detector_shape_of(shape: int | Sequence[int]) -> tuple[int, int]:
    """Check a detector's shape.

    Args:
        shape: (rows, columns), or one number for both.

    Returns:
        (rows, columns).

    Raises:
        InputError: where it holds anything but positive integers, or there are more than `MAX_PIXELS`.
    """
    numbers = [shape, shape] if isinstance(shape, int) else list(shape) if isinstance(shape, Iterable) else []
    if len(numbers) != 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in numbers):
        raise InputError(f"detector_shape must be two positive integers (rows, columns), got {shape!r}")
    if int(numbers[0]) * int(numbers[1]) > MAX_PIXELS:
        raise InputError(f"a detector of {numbers[0]} x {numbers[1]} pixels is larger than 8192 x 8192: give fewer")
    return int(numbers[0]), int(numbers[1])


def square_detector(
    centre: Vector, columns: Vector, rows: Vector, size: float, shape: int | Sequence[int]
) -> dict[str, Any]:
    """Return the fields of a square detector.

    Args:
        centre: (x, y, z) in mm.
        columns: direction of the columns, a unit vector.
        rows: direction of the rows, a unit vector.
        size: side in mm.
        shape: (rows, columns), or one number for both.

    Raises:
        InputError: where size or shape are not positive.
    """
    if not (math.isfinite(size) and size > 0):
        raise InputError(f"detector_size must be positive, got {size} mm")
    count = detector_shape_of(shape)
    return {
        "detector_centre": centre,
        "column_step": scaled(columns, size / count[1]),
        "row_step": scaled(rows, size / count[0]),
        "detector_shape": count,
    }


@dataclass(frozen=True, kw_only=True)
class FlatDetector:
    """A flat detector and the rays that end on it; the fields are documented in `ConeBeam`."""

    detector_centre: Vector
    column_step: Vector
    row_step: Vector
    detector_shape: tuple[int, int] = (128, 128)

    _RAYS_BEGIN: ClassVar[float] = -math.inf
    """Distance in mm, along a ray from its point in `_rays`, at which the ray begins."""

    def __post_init__(self) -> None:
        for name in ("detector_centre", "column_step", "row_step"):
            object.__setattr__(self, name, vector(name, getattr(self, name)))
        object.__setattr__(self, "detector_shape", detector_shape_of(self.detector_shape))
        sides = float(np.linalg.norm(self.column_step)) * float(np.linalg.norm(self.row_step))
        if float(np.linalg.norm(self._normal_area)) < 1e-6 * max(1e-6, sides):
            raise InputError(f"column_step {self.column_step} and row_step {self.row_step} must span a plane")

    @property
    def _normal_area(self) -> np.ndarray:
        """Normal of the detector, as long as a pixel's area."""
        return np.cross(self.column_step, self.row_step)

    @property
    def first_pixel(self) -> np.ndarray:
        """Centre of the pixel of row 0 and column 0: (3,) in mm."""
        rows, columns = self.detector_shape
        return (
            np.array(self.detector_centre)
            - (columns - 1) / 2 * np.array(self.column_step)
            - (rows - 1) / 2 * np.array(self.row_step)
        )

    @property
    def projection_matrix(self) -> np.ndarray:
        """Matrix from a position to a pixel: (3, 4) float64, (x, y, z, 1) in mm -> w (column, row, 1).

        Pixel indices count from 0 at the first pixel's centre. In a cone beam, w is the depth of the position along the
        detector's normal over the source-detector distance: 1 on the detector, the inverse of the magnification. In a
        parallel beam it is 1 everywhere.
        """
        raise NotImplementedError

    def project_points(
        self, points: np.ndarray | Sequence[Sequence[float]], grid: VolumeGrid | None = None
    ) -> np.ndarray:
        """Find where points appear on the detector.

        Args:
            points: (N, 3) positions (x, y, z) in mm, LPS; or, with `grid`, voxel indices (d, h, w).
            grid: grid that the voxel indices belong to.

        Returns:
            (N, 2) float64, (row, column); NaN for a point level with the source or behind it.
        """
        positions = np.atleast_2d(np.asarray(points, dtype=float))
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise InputError(f"points must have the shape (N, 3), got {np.shape(points)}")
        if grid is not None:
            positions = grid.positions_lps(positions)
        column, row, w = self.projection_matrix @ np.c_[positions, np.ones(len(positions))].T
        w = np.where(w > 0, w, np.nan)
        return np.stack([row / w, column / w], axis=1)

    def magnification(self, point: Sequence[float] = (0.0, 0.0, 0.0)) -> float:
        """Return how much larger a structure at a point appears on the detector.

        Args:
            point: (x, y, z) in mm, the isocentre by default.

        Returns:
            Size on the detector over true size; 1 for a parallel beam.

        Raises:
            InputError: where the point does not lie before the source.
        """
        w = float(self.projection_matrix[2] @ np.append(point, 1.0))
        if w <= 0:
            raise InputError(f"the point {tuple(point)} mm lies level with the source or behind it: it has no image")
        return 1 / w

    @property
    def field_at_isocentre(self) -> tuple[float, float]:
        """(height, width) in mm of the field that the detector sees at the depth of the isocentre."""
        rows, columns = self.detector_shape
        height, width = rows * float(np.linalg.norm(self.row_step)), columns * float(np.linalg.norm(self.column_step))
        return height / self.magnification(), width / self.magnification()

    def _pixels(self) -> np.ndarray:
        """Centres of all pixels: (rows, columns, 3) in mm."""
        rows, columns = (np.arange(n)[..., None] for n in self.detector_shape)
        along_rows, along_columns = rows * np.array(self.row_step), columns * np.array(self.column_step)
        return self.first_pixel + along_rows[:, None] + along_columns[None]

    def _rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return a point and the unit direction of each pixel's ray, broadcasting to (rows, columns, 3)."""
        raise NotImplementedError

    def ray_support(self, grid: VolumeGrid) -> np.ndarray:
        """Measure how much of each pixel's ray lies inside the box of a volume.

        Args:
            grid: the volume's grid.

        Returns:
            (rows, columns) chord lengths in mm; 0 where the ray misses the volume.
        """
        origin, direction = self._rays()
        half = np.array(grid.size)[::-1] / 2  # (x, y, z) run along (W, H, D)
        with np.errstate(divide="ignore", invalid="ignore"):
            faces = np.stack([(-half - origin) / direction, (half - origin) / direction])
        inside = np.abs(origin) <= half
        parallel = direction == 0  # to a pair of faces: between them everywhere or nowhere
        enter = np.where(parallel, np.where(inside, -np.inf, np.inf), faces.min(axis=0)).max(axis=-1)
        leave = np.where(parallel, np.where(inside, np.inf, -np.inf), faces.max(axis=0)).min(axis=-1)
        return np.maximum(leave - np.maximum(enter, self._RAYS_BEGIN), 0.0)

    def moved(self, offset: Sequence[float]) -> Self:
        """Shift the detector, and the source where there is one.

        Args:
            offset: (x, y, z) in mm.

        Returns:
            A new view.
        """
        return replace(self, detector_centre=plus(self.detector_centre, vector("offset", offset)))

    def mirrored(self) -> Self:
        """Return the same view with its image flipped left to right."""
        return replace(self, column_step=scaled(self.column_step, -1.0))
