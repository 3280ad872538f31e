"""Views from a point source: radiographs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np

from conventions import InputError

from .detector import FlatDetector, Vector, detector_shape_of, plus, scaled, square_detector, vector
from .poses import Pose, lateral_pose, named_pose, oblique_pose

AT_INFINITY_MM = 1e7
"""Largest distance from the source to the detector of a cone beam (10 km); beyond it, rays count as parallel."""


@dataclass(frozen=True, kw_only=True)
class ConeBeam(FlatDetector):
    """One radiographic view: a point source and a flat detector.

    Args:
        source: focal spot (x, y, z) in mm.
        detector_centre: centre of the detector in mm.
        column_step: vector from one column's centre to the next one's, in mm; points to the right of the image.
        row_step: vector from one row's centre to the next one's, in mm; points down the image.
        detector_shape: (rows, columns).

    Raises:
        InputError: where the numbers contradict each other: parallel steps, or a source in the detector's plane.
    """

    source: Vector

    _RAYS_BEGIN: ClassVar[float] = 0.0  # at the source

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "source", vector("source", self.source))
        normal = self._normal_area
        distance = abs(float(np.dot(np.subtract(self.source, self.detector_centre), normal)) / np.linalg.norm(normal))
        if distance < 1e-3:
            raise InputError(f"the source {self.source} lies in the plane of the detector at {self.detector_centre}")
        if self.sdd > AT_INFINITY_MM:
            raise InputError(f"a source {self.sdd:g} mm from the detector is a parallel beam: use ParallelBeam")

    @classmethod
    def _facing(cls, pose: Pose, sdd: float, sod: float, detector_size: float, detector_shape: Sequence[int]) -> Self:
        """Build a view along the beam of a pose, with the detector perpendicular to it."""
        if not 0 < sod < sdd:
            raise InputError(f"sod must lie between 0 and sdd, got sod {sod} and sdd {sdd} mm")
        beam, columns, rows = pose
        numbers = square_detector(scaled(beam, sdd - sod), columns, rows, detector_size, detector_shape)
        return cls(source=scaled(beam, -sod), **numbers)

    @classmethod
    def pa(
        cls, *, sdd: float, sod: float, detector_size: float = 430.0, detector_shape: Sequence[int] = (128, 128)
    ) -> Self:
        """Build a posterior-anterior view: source behind the patient, patient's left on the image's right.

        Args:
            sdd: source-detector distance in mm.
            sod: source-isocentre distance in mm.
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing(named_pose("pa"), sdd, sod, detector_size, detector_shape)

    @classmethod
    def ap(
        cls, *, sdd: float, sod: float, detector_size: float = 430.0, detector_shape: Sequence[int] = (128, 128)
    ) -> Self:
        """Build an anterior-posterior view, displayed as a PA film is. Arguments as in `pa`."""
        return cls._facing(named_pose("ap"), sdd, sod, detector_size, detector_shape)

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
        """Build a lateral view, the patient's front on the image's left whichever side the detector is on.

        Args:
            detector_side: side of the patient at the detector; "left" is the usual left lateral.
            sdd: source-detector distance in mm.
            sod: source-isocentre distance in mm.
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing(lateral_pose(detector_side), sdd, sod, detector_size, detector_shape)

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
        """Build a PA turned about the patient: source and detector move, the patient stays.

        Args:
            angle: degrees about z: 0 is PA, 45 left anterior oblique (LAO), -45 right anterior oblique (RAO), 90 the
                left lateral.
            tilt: degrees by which the beam points towards the head.
            sdd: source-detector distance in mm.
            sod: source-isocentre distance in mm.
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing(oblique_pose(angle, tilt), sdd, sod, detector_size, detector_shape)

    @classmethod
    def from_projection_matrix(
        cls, matrix: np.ndarray, *, sdd: float, detector_shape: Sequence[int] = (128, 128)
    ) -> Self:
        """Build the view of a projection matrix K [R | t], from camera calibration or another renderer.

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
        rows, columns = detector_shape_of(detector_shape)
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
        """Shift source and detector by (x, y, z) in mm."""
        return replace(super().moved(offset), source=plus(self.source, vector("offset", offset)))

    @property
    def direction(self) -> Vector:
        """Unit vector (x, y, z) in LPS from the source to the detector's centre."""
        x, y, z = np.subtract(self.detector_centre, self.source) / self.sdd
        return float(x), float(y), float(z)

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
        """Matrix from a position to a pixel, as in `FlatDetector`: (3, 4) float64."""
        to_detector = np.stack([self.column_step, self.row_step, self.first_pixel - self.source], axis=1)
        return np.linalg.solve(to_detector, np.c_[np.eye(3), -np.array(self.source)])

    def _rays(self) -> tuple[np.ndarray, np.ndarray]:
        source = np.array(self.source)
        direction = self._pixels() - source
        return source, direction / np.linalg.norm(direction, axis=-1, keepdims=True)
