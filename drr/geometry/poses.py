"""Directions of the beam and of the image's axes in the usual views."""

from __future__ import annotations

import math

from conventions import InputError

from .detector import Vector

POSES: dict[str, tuple[Vector, Vector]] = {
    "pa": ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
    "ap": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "left": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "right": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
}
"""Direction of the beam and of the image's columns (unit vectors, LPS): PA, AP, and the laterals by the side of the
patient that the detector is at. PA and AP show the patient's left on the image's right, laterals the front on the
left, whichever way the beam runs."""

TO_THE_FEET: Vector = (0.0, 0.0, -1.0)
"""Direction of the image's rows in every pose of `POSES`."""

Pose = tuple[Vector, Vector, Vector]
"""Directions of the beam, the columns and the rows, as unit vectors in LPS."""


def named_pose(name: str) -> Pose:
    """Look up the pose of a key of `POSES`."""
    return (*POSES[name], TO_THE_FEET)


def lateral_pose(detector_side: str) -> Pose:
    """Look up the lateral pose with this side of the patient at the detector.

    Raises:
        InputError: where the side is neither left nor right.
    """
    if detector_side not in ("left", "right"):
        raise InputError(f"detector_side must be 'left' or 'right', got {detector_side!r}")
    return named_pose(detector_side)


def oblique_pose(angle: float, tilt: float) -> Pose:
    """Turn the PA view by `angle` about z and tilt it by `tilt` towards the head, both in degrees."""
    sin_a, cos_a = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    sin_t, cos_t = math.sin(math.radians(tilt)), math.cos(math.radians(tilt))
    beam = (sin_a * cos_t, -cos_a * cos_t, sin_t)
    rows = (sin_a * sin_t, -cos_a * sin_t, -cos_t)
    return beam, (cos_a, sin_a, 0.0), rows
