"""Views with parallel rays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from conventions import InputError

from .detector import FlatDetector, Vector, detector_shape_of, square_detector, vector
from .poses import Pose, lateral_pose, named_pose, oblique_pose

UNIT_TOLERANCE = 1e-14
"""Largest difference from 1 at which a direction counts as a unit vector, so that a view's own direction is kept."""


@dataclass(frozen=True, kw_only=True)
class ParallelBeam(FlatDetector):
    """One view with parallel rays, for comparing methods and matching projection losses; no radiograph is made so.

    Args:
        direction: direction of the rays, any length.
        detector_centre: point on the central ray, in mm.
        column_step: vector from one column's centre to the next one's, in mm; points to the right of the image.
        row_step: vector from one row's centre to the next one's, in mm; points down the image.
        detector_shape: (rows, columns).

    Raises:
        InputError: where the steps are parallel, or the rays run along the detector.
    """

    direction: Vector

    def __post_init__(self) -> None:
        super().__post_init__()
        direction = np.array(vector("direction", self.direction))
        length = float(np.linalg.norm(direction))
        if length == 0:
            raise InputError("direction must not be zero")
        if abs(length - 1) > UNIT_TOLERANCE:
            direction = direction / length
        object.__setattr__(self, "direction", tuple(float(v) + 0.0 for v in direction))
        normal = self._normal_area
        if abs(float(np.dot(self.direction, normal)) / np.linalg.norm(normal)) < 1e-3:
            raise InputError(f"the rays along {self.direction} run along the detector's plane")

    @classmethod
    def _facing(cls, pose: Pose, detector_size: float, detector_shape: Sequence[int]) -> Self:
        beam, columns, rows = pose
        numbers = square_detector((0.0, 0.0, 0.0), columns, rows, detector_size, detector_shape)
        return cls(direction=beam, **numbers)

    @classmethod
    def pa(cls, *, detector_size: float = 320.0, detector_shape: Sequence[int] = (128, 128)) -> Self:
        """Build rays from back to front, patient's left on the image's right.

        Args:
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing(named_pose("pa"), detector_size, detector_shape)

    @classmethod
    def ap(cls, *, detector_size: float = 320.0, detector_shape: Sequence[int] = (128, 128)) -> Self:
        """Build rays from front to back, with the same image as `pa`. Arguments as in `pa`."""
        return cls._facing(named_pose("ap"), detector_size, detector_shape)

    @classmethod
    def lateral(
        cls,
        *,
        detector_side: Literal["left", "right"] = "left",
        detector_size: float = 320.0,
        detector_shape: Sequence[int] = (128, 128),
    ) -> Self:
        """Build rays from side to side, the patient's front on the image's left. Arguments as in `ConeBeam.lateral`."""
        return cls._facing(lateral_pose(detector_side), detector_size, detector_shape)

    @classmethod
    def oblique(
        cls,
        *,
        angle: float,
        tilt: float = 0.0,
        detector_size: float = 320.0,
        detector_shape: Sequence[int] = (128, 128),
    ) -> Self:
        """Build `pa` turned about the patient. Arguments as in `ConeBeam.oblique`."""
        return cls._facing(oblique_pose(angle, tilt), detector_size, detector_shape)

    @classmethod
    def from_projection_matrix(cls, matrix: np.ndarray, *, detector_shape: Sequence[int] = (128, 128)) -> Self:
        """Build the view of an affine projection matrix, with the detector perpendicular to the rays.

        The matrix does not say which way the rays run, and the image does not depend on it: they are taken to run so
        that the image is seen from the detector's side, as a PA is. An AP comes back as a PA of the same image.

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
        steps = np.linalg.pinv(matrix[:2, :3])  # perpendicular to the rays: no part of a step runs along them
        rows, columns = detector_shape_of(detector_shape)
        return cls(
            direction=tuple(np.cross(matrix[1, :3], matrix[0, :3])),
            detector_centre=tuple(steps @ (np.array([(columns - 1) / 2, (rows - 1) / 2]) - matrix[:2, 3])),
            column_step=tuple(steps[:, 0]),
            row_step=tuple(steps[:, 1]),
            detector_shape=(rows, columns),
        )

    @property
    def projection_matrix(self) -> np.ndarray:
        """Matrix from a position to a pixel, as in `FlatDetector`: (3, 4) float64, w is 1 everywhere."""
        inverse = np.linalg.inv(np.stack([self.column_step, self.row_step, self.direction], axis=1))
        to_pixel = np.c_[inverse, -inverse @ self.first_pixel]
        to_pixel[2] = (0.0, 0.0, 0.0, 1.0)
        return to_pixel

    def _rays(self) -> tuple[np.ndarray, np.ndarray]:
        return self._pixels(), np.array(self.direction)
