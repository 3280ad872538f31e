"""Views: where the source and the detector are. Frozen objects in mm, patient frame LPS, isocentre at the origin.

The patient frame is DICOM's: x to the patient's left, y to the back, z to the head. Image rows run towards the feet. A
view is a cone beam (a radiograph) or a parallel beam; either is a general pose, and the constructors `pa`, `ap`,
`lateral` and `oblique` build the usual ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from conventions import InputError

from .grid import VolumeGrid

Vector = tuple[float, float, float]

AT_INFINITY_MM = 1e7
"""A source farther from the detector than this (10 km) is read as a parallel beam."""

POSES: dict[str, tuple[Vector, Vector]] = {
    "pa": ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
    "ap": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "left": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "right": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
}
"""Direction of the beam and of the image's columns (unit vectors, LPS): PA, AP, and the laterals by the side of the
patient that the detector is at. PA and AP show the patient's left on the image's right, laterals the front on the
left, whichever way the beam runs."""


def _vector(name: str, value: Sequence[float]) -> Vector:
    numbers = tuple(float(v) + 0.0 for v in value)  # + 0.0 turns -0.0 into 0.0
    if len(numbers) != 3 or not all(math.isfinite(v) for v in numbers):
        raise InputError(f"{name} must be three finite numbers (x, y, z) in mm, got {value!r}")
    return numbers


def _oblique_pose(angle: float, tilt: float) -> tuple[Vector, Vector, Vector]:
    """Beam, column and row direction of PA turned by `angle` about z and tilted by `tilt`, both in degrees."""
    sin_a, cos_a = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    sin_t, cos_t = math.sin(math.radians(tilt)), math.cos(math.radians(tilt))
    beam = (sin_a * cos_t, -cos_a * cos_t, sin_t)
    rows = (sin_a * sin_t, -cos_a * sin_t, -cos_t)
    return beam, (cos_a, sin_a, 0.0), rows


def _lateral_pose(detector_side: str) -> tuple[Vector, Vector]:
    if detector_side not in ("left", "right"):
        raise InputError(f"detector_side must be 'left' or 'right', got {detector_side!r}")
    return POSES[detector_side]


def _with_rows(pose: Sequence[Vector]) -> tuple[Vector, Vector, Vector]:
    """Beam, columns and rows of a pose; rows run to the feet where it does not say."""
    beam, columns, *rows = pose
    return beam, columns, rows[0] if rows else (0.0, 0.0, -1.0)


def _scaled(vector: Vector, factor: float) -> Vector:
    return vector[0] * factor, vector[1] * factor, vector[2] * factor


@dataclass(frozen=True, kw_only=True)
class _FlatDetector:
    """What the two beams share: a flat detector somewhere in space. See `ConeBeam` for the fields."""

    detector_centre: Vector
    column_step: Vector
    row_step: Vector
    detector_shape: tuple[int, int] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("detector_centre", "column_step", "row_step"):
            object.__setattr__(self, name, _vector(name, getattr(self, name)))
        shape = tuple(int(n) for n in self.detector_shape)
        if len(shape) != 2 or min(shape) < 1:
            raise InputError(f"detector_shape must be two positive integers (rows, columns), got {self.detector_shape}")
        object.__setattr__(self, "detector_shape", shape)
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
        """From a position to a pixel: (3, 4) float64, (x, y, z, 1) in mm -> w (column, row, 1).

        Pixel indices count from 0 at the first pixel's centre. Of a cone beam, w is the depth of the position along the
        detector's normal over the source-detector distance: 1 on the detector, the inverse of the magnification.
        """
        raise NotImplementedError

    def project_points(
        self, points: np.ndarray | Sequence[Sequence[float]], grid: VolumeGrid | None = None
    ) -> np.ndarray:
        """Where points appear on the detector.

        Args:
            points: (N, 3) positions (x, y, z) in mm, LPS; or, with `grid`, voxel indices (d, h, w).
            grid: the grid that the voxel indices belong to.

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
        """How much larger a structure at a point appears on the detector.

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
        """A point and the unit direction of each pixel's ray, broadcasting to (rows, columns, 3)."""
        raise NotImplementedError

    def ray_support(self, grid: VolumeGrid) -> np.ndarray:
        """How much of each pixel's ray lies inside the box of a volume.

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
        if isinstance(self, ConeBeam):
            enter = np.maximum(enter, 0.0)  # a ray begins at the source
        leave = np.where(parallel, np.where(inside, np.inf, -np.inf), faces.max(axis=0)).min(axis=-1)
        return np.maximum(leave - enter, 0.0)

    def moved(self, offset: Sequence[float]) -> Self:
        """The same view with the detector, and the source where there is one, shifted.

        Args:
            offset: (x, y, z) in mm.
        """
        return replace(self, detector_centre=_plus(self.detector_centre, _vector("offset", offset)))

    def mirrored(self) -> Self:
        """The same view with its image flipped left to right."""
        return replace(self, column_step=_scaled(self.column_step, -1.0))


def _plus(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _detector(
    centre: Vector, columns: Vector, rows: Vector, size: float, shape: Sequence[int]
) -> dict[str, Vector | tuple[int, int]]:
    """The fields of a square detector of `size` mm."""
    if not (math.isfinite(size) and size > 0):
        raise InputError(f"detector_size must be positive, got {size} mm")
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"detector_shape must be two positive integers (rows, columns), got {shape!r}")
    return {
        "detector_centre": centre,
        "column_step": _scaled(columns, size / int(shape[1])),
        "row_step": _scaled(rows, size / int(shape[0])),
        "detector_shape": (int(shape[0]), int(shape[1])),
    }


@dataclass(frozen=True, kw_only=True)
class ConeBeam(_FlatDetector):
    """One radiographic view: a point source and a flat detector.

    Args:
        source: focal spot (x, y, z) in mm.
        detector_centre: centre of the detector in mm.
        column_step: from one column's centre to the next one's, in mm; points to the right of the image.
        row_step: from one row's centre to the next one's, in mm; points down the image.
        detector_shape: (rows, columns).

    Raises:
        InputError: where the numbers contradict each other: parallel steps, or a source in the detector's plane.
    """

    source: Vector

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "source", _vector("source", self.source))
        normal = self._normal_area
        distance = abs(float(np.dot(np.subtract(self.source, self.detector_centre), normal)) / np.linalg.norm(normal))
        if distance < 1e-3:
            raise InputError(f"the source {self.source} lies in the plane of the detector at {self.detector_centre}")
        if self.sdd > AT_INFINITY_MM:
            raise InputError(f"a source {self.sdd:g} mm from the detector is a parallel beam: use ParallelBeam")

    @classmethod
    def _facing(
        cls, pose: Sequence[Vector], sdd: float, sod: float, detector_size: float, detector_shape: Sequence[int]
    ) -> Self:
        """A view along the beam of a pose (beam, columns, rows), with the detector square to it."""
        if not 0 < sod < sdd:
            raise InputError(f"sod must lie between 0 and sdd, got sod {sod} and sdd {sdd} mm")
        beam, columns, rows = _with_rows(pose)
        numbers = _detector(_scaled(beam, sdd - sod), columns, rows, detector_size, detector_shape)
        return cls(source=_scaled(beam, -sod), **numbers)  # type: ignore[arg-type]

    @classmethod
    def pa(
        cls, *, sdd: float, sod: float, detector_size: float = 430.0, detector_shape: Sequence[int] = (128, 128)
    ) -> Self:
        """Posterior-anterior view: source behind the patient, patient's left on the image's right.

        Args:
            sdd: source-detector distance in mm.
            sod: source-isocentre distance in mm.
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing(POSES["pa"], sdd, sod, detector_size, detector_shape)

    @classmethod
    def ap(
        cls, *, sdd: float, sod: float, detector_size: float = 430.0, detector_shape: Sequence[int] = (128, 128)
    ) -> Self:
        """Anterior-posterior view: source in front of the patient, displayed as a PA film. Arguments as of `pa`."""
        return cls._facing(POSES["ap"], sdd, sod, detector_size, detector_shape)

    @classmethod
    def lateral(
        cls,
        *,
        detector_side: Literal["left", "right"],
        sdd: float,
        sod: float,
        detector_size: float = 430.0,
        detector_shape: Sequence[int] = (128, 128),
    ) -> Self:
        """Lateral view, the patient's front on the image's left whichever side the detector is.

        Args:
            detector_side: the side of the patient that touches the detector; "left" is the usual left lateral.
            sdd: source-detector distance in mm.
            sod: source-isocentre distance in mm.
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing(_lateral_pose(detector_side), sdd, sod, detector_size, detector_shape)

    @classmethod
    def oblique(
        cls,
        *,
        angle: float,
        tilt: float = 0.0,
        sdd: float,
        sod: float,
        detector_size: float = 430.0,
        detector_shape: Sequence[int] = (128, 128),
    ) -> Self:
        """PA turned about the patient: source and detector move, the patient stays.

        Args:
            angle: degrees about z: 0 is PA, 45 left anterior oblique (LAO), -45 right anterior oblique (RAO), 90 the
                left lateral.
            tilt: degrees by which the beam points to the head.
            sdd: source-detector distance in mm.
            sod: source-isocentre distance in mm.
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing(_oblique_pose(angle, tilt), sdd, sod, detector_size, detector_shape)

    @classmethod
    def from_projection_matrix(
        cls, matrix: np.ndarray, *, sdd: float, detector_shape: Sequence[int] = (128, 128)
    ) -> Self:
        """The view of a projection matrix K [R | t], from camera calibration or another renderer.

        Args:
            matrix: (3, 4), (x, y, z, 1) in mm, LPS -> w (column, row, 1), of any scale.
            sdd: distance from the source to the detector's centre in mm, which the matrix does not hold.
            detector_shape: (rows, columns).

        Raises:
            InputError: where the matrix has another shape or no centre of projection.
        """
        matrix = np.asarray(matrix, dtype=float)
        if matrix.shape != (3, 4) or not np.isfinite(matrix).all():
            raise InputError(f"a projection matrix has the shape (3, 4) and finite numbers, got {matrix.shape}")
        if abs(np.linalg.det(matrix[:, :3])) < 1e-12 * np.linalg.norm(matrix[:, :3]) ** 3:
            raise InputError(
                "the projection matrix has no centre of projection: use ParallelBeam.from_projection_matrix"
            )
        inverse = np.linalg.inv(matrix[:, :3])
        source = -inverse @ matrix[:, 3]
        # w at the isocentre, which lies before the source, is matrix[2, 3]: its sign is that of the whole matrix.
        rows, columns = detector_shape
        middle = np.array([(columns - 1) / 2, (rows - 1) / 2, 1.0])
        to_detector = inverse * sdd / np.linalg.norm(inverse @ middle) * (1.0 if matrix[2, 3] >= 0 else -1.0)
        return cls(
            source=tuple(source),
            detector_centre=tuple(source + to_detector @ middle),
            column_step=tuple(to_detector[:, 0]),
            row_step=tuple(to_detector[:, 1]),
            detector_shape=(rows, columns),
        )

    def moved(self, offset: Sequence[float]) -> Self:
        """See the base class."""
        return replace(super().moved(offset), source=_plus(self.source, _vector("offset", offset)))

    @property
    def sdd(self) -> float:
        """Distance from the source to the detector's centre in mm."""
        return math.dist(self.source, self.detector_centre)

    @property
    def sod(self) -> float:
        """Distance from the source to the isocentre in mm."""
        return math.dist(self.source, (0.0, 0.0, 0.0))

    @property
    def projection_matrix(self) -> np.ndarray:
        """See the base class."""
        to_detector = np.stack([self.column_step, self.row_step, self.first_pixel - self.source], axis=1)
        return np.linalg.solve(to_detector, np.c_[np.eye(3), -np.array(self.source)])

    def _rays(self) -> tuple[np.ndarray, np.ndarray]:
        source = np.array(self.source)
        direction = self._pixels() - source
        return source, direction / np.linalg.norm(direction, axis=-1, keepdims=True)


@dataclass(frozen=True, kw_only=True)
class ParallelBeam(_FlatDetector):
    """One view by parallel rays, for method comparisons and for matching a projection loss; no radiograph is made so.

    Args:
        direction: of the rays, any length.
        detector_centre: a point of the central ray, in mm.
        column_step: from one column's centre to the next one's, in mm; points to the right of the image.
        row_step: from one row's centre to the next one's, in mm; points down the image.
        detector_shape: (rows, columns).

    Raises:
        InputError: where the steps are parallel, or the rays run along the detector.
    """

    direction: Vector

    def __post_init__(self) -> None:
        super().__post_init__()
        direction = np.array(_vector("direction", self.direction))
        length = float(np.linalg.norm(direction))
        if length == 0:
            raise InputError("direction must not be zero")
        object.__setattr__(self, "direction", tuple(float(v) + 0.0 for v in direction / length))
        normal = self._normal_area
        if abs(float(np.dot(self.direction, normal)) / np.linalg.norm(normal)) < 1e-3:
            raise InputError(f"the rays along {self.direction} run along the detector's plane")

    @classmethod
    def _facing(cls, pose: Sequence[Vector], detector_size: float, detector_shape: Sequence[int]) -> Self:
        beam, columns, rows = _with_rows(pose)
        numbers = _detector((0.0, 0.0, 0.0), columns, rows, detector_size, detector_shape)
        return cls(direction=beam, **numbers)  # type: ignore[arg-type]

    @classmethod
    def pa(cls, *, detector_size: float = 320.0, detector_shape: Sequence[int] = (128, 128)) -> Self:
        """Rays from back to front, patient's left on the image's right.

        Args:
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing(POSES["pa"], detector_size, detector_shape)

    @classmethod
    def ap(cls, *, detector_size: float = 320.0, detector_shape: Sequence[int] = (128, 128)) -> Self:
        """Rays from front to back; the same image as `pa`."""
        return cls._facing(POSES["ap"], detector_size, detector_shape)

    @classmethod
    def lateral(
        cls,
        *,
        detector_side: Literal["left", "right"] = "left",
        detector_size: float = 320.0,
        detector_shape: Sequence[int] = (128, 128),
    ) -> Self:
        """Rays from side to side, the patient's front on the image's left. Arguments as of `ConeBeam.lateral`."""
        return cls._facing(_lateral_pose(detector_side), detector_size, detector_shape)

    @classmethod
    def oblique(
        cls,
        *,
        angle: float,
        tilt: float = 0.0,
        detector_size: float = 320.0,
        detector_shape: Sequence[int] = (128, 128),
    ) -> Self:
        """`pa` turned about the patient. Arguments as of `ConeBeam.oblique`."""
        return cls._facing(_oblique_pose(angle, tilt), detector_size, detector_shape)

    @classmethod
    def from_projection_matrix(cls, matrix: np.ndarray, *, detector_shape: Sequence[int] = (128, 128)) -> Self:
        """The view of an affine projection matrix, with the detector square to the rays.

        The matrix does not tell which way the rays run, nor needs the image: they run so that the image is seen from
        the detector's side, as a PA is. An AP comes back as a PA of the same image.

        Args:
            matrix: (3, 4), (x, y, z, 1) in mm, LPS -> w (column, row, 1) with a constant w.
            detector_shape: (rows, columns).

        Raises:
            InputError: where the matrix has another shape or is not affine.
        """
        matrix = np.asarray(matrix, dtype=float)
        if matrix.shape != (3, 4) or not np.isfinite(matrix).all() or np.any(matrix[2, :3]) or matrix[2, 3] == 0:
            raise InputError("the matrix of a parallel beam has the shape (3, 4) and the last row (0, 0, 0, w)")
        matrix = matrix / matrix[2, 3]
        steps = np.linalg.pinv(matrix[:2, :3])  # square to the rays: no part of a step runs along them
        rows, columns = detector_shape
        return cls(
            direction=tuple(np.cross(matrix[1, :3], matrix[0, :3])),
            detector_centre=tuple(steps @ (np.array([(columns - 1) / 2, (rows - 1) / 2]) - matrix[:2, 3])),
            column_step=tuple(steps[:, 0]),
            row_step=tuple(steps[:, 1]),
            detector_shape=(rows, columns),
        )

    @property
    def projection_matrix(self) -> np.ndarray:
        """See the base class; w is 1 everywhere."""
        inverse = np.linalg.inv(np.stack([self.column_step, self.row_step, self.direction], axis=1))
        to_pixel = np.c_[inverse, -inverse @ self.first_pixel]
        to_pixel[2] = (0.0, 0.0, 0.0, 1.0)
        return to_pixel

    def _rays(self) -> tuple[np.ndarray, np.ndarray]:
        return self._pixels(), np.array(self.direction)


Beam = ConeBeam | ParallelBeam
"""A view of either kind."""
