"""Describe a view: letters at the image's edges, DICOM terms, the position of its pixels, its numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from conventions import LPS_TO_RAS

from .dicom_tags import HALF_THICKNESS_MM, VIEW_POSITIONS
from .geometry import POSES, Beam, ConeBeam, ParallelBeam

AXIS_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
"""Letters of the directions +x and -x, +y and -y, +z and -z in LPS."""

LEAST_SHARE = 0.01
"""Smallest component of a unit direction that gets a letter (half a degree)."""

_TITLES = {0: "PA", 90: "left lateral", 180: "AP", 270: "right lateral"}
"""Angle of a view, as in `ConeBeam.oblique` but from 0 up -> its name."""

SAME_DIRECTION = 0.9999
"""Smallest cosine between a beam and the beam of a pose at which they count as the same (0.8 degrees)."""


def pose_of(view: Beam) -> str | None:
    """Return the key of `POSES` that the beam runs along; None for an oblique view."""
    return next((name for name, (pose, _) in POSES.items() if np.dot(view.direction, pose) > SAME_DIRECTION), None)


def view_word(view: Beam) -> str | None:
    """Return the word that `preset` has for a view, such as `parallel_left_lateral`; None for an oblique view."""
    pose = pose_of(view)
    if pose is None:
        return None
    word = f"{pose}_lateral" if pose in ("left", "right") else pose
    return f"parallel_{word}" if isinstance(view, ParallelBeam) else word


def view_position(view: Beam) -> str:
    """Return DICOM's View Position (0018,5101): PA, AP, LL or RL; empty for a direction that has no term."""
    pose = pose_of(view)
    return next((term for term, name in VIEW_POSITIONS.items() if name == pose), "")


def view_title(view: Beam) -> str:
    """Name a view in a few words, for the title of its picture.

    Args:
        view: any view.

    Returns:
        "PA", "AP", "left lateral" and "right lateral" (that side at the detector), or "oblique 45°" with the angle of
        `ConeBeam.oblique`; "parallel PA" of a parallel beam; "PA, tilted 10°" of a beam that points to the head.
    """
    x, y, z = view.direction
    angle, tilt = round(math.degrees(math.atan2(x, -y))), round(math.degrees(math.asin(max(-1.0, min(1.0, z)))))
    title = _TITLES.get(angle % 360, f"oblique {angle}°")
    title = f"parallel {title}" if isinstance(view, ParallelBeam) else title
    return f"{title}, tilted {tilt}°" if tilt else title


def direction_letters(direction: Sequence[float] | np.ndarray) -> str:
    """Name a direction by letters: "L" is to the patient's left, "LP" to the left and a little to the back.

    Args:
        direction: (x, y, z) in LPS, any length.

    Returns:
        One to three of L R P A H F, the largest component first, as in DICOM's Patient Orientation (0020,0020).
    """
    unit = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    order = np.argsort(-np.abs(unit), kind="stable")
    return "".join(AXIS_LETTERS[i][int(unit[i] < 0)] for i in order if abs(unit[i]) > LEAST_SHARE)


def edge_letters(view: Beam) -> tuple[str, str, str, str]:
    """Return the letters at the top, bottom, left and right edge of the image."""
    rows, columns = np.array(view.row_step), np.array(view.column_step)
    top, bottom, left, right = (direction_letters(edge) for edge in (-rows, rows, -columns, columns))
    return top, bottom, left, right


def detector_affine(view: Beam, isocentre_lps: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Return the affine of an image (columns, rows, 1) that lies where the detector stands.

    Args:
        view: the view.
        isocentre_lps: position (x, y, z) of the isocentre in the patient frame wanted, in mm, LPS.

    Returns:
        (4, 4) float64 from the index (column, row, 0) to RAS in mm; the third axis is the detector's normal, 1 mm.
    """
    normal = np.cross(view.column_step, view.row_step)
    steps = np.stack([view.column_step, view.row_step, normal / np.linalg.norm(normal)], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = np.array(LPS_TO_RAS)[:, None] * steps
    affine[:3, 3] = LPS_TO_RAS * (view.first_pixel + isocentre_lps)
    return affine + 0.0  # no negative zeros


def source_to_patient(view: Beam) -> float | None:
    """Return DICOM's Distance Source to Patient (0018,1111) in mm; None where the view is oblique or its rays parallel.

    In a radiograph it ends at the surface that the patient leans on (PS3.3 table C.8-72). A CT does not say where that
    is; it is put half an adult's chest behind the isocentre, which `from_dicom_tags` takes off again.
    """
    pose = pose_of(view)
    return view.sod + HALF_THICKNESS_MM[pose] if isinstance(view, ConeBeam) and pose is not None else None


def view_record(view: Beam) -> dict[str, Any]:
    """Return the numbers of a view for a JSON file; `ConeBeam(**record["view"])` rebuilds the view."""
    record: dict[str, Any] = {
        "beam": type(view).__name__,
        "view": dataclasses.asdict(view),
        "frame": "LPS in mm, the isocentre at the origin",
        "field_at_isocentre_mm": view.field_at_isocentre,
        "magnification_at_isocentre": view.magnification(),
    }
    if isinstance(view, ConeBeam):
        record |= {"sdd_mm": view.sdd, "sod_mm": view.sod}
    return record
