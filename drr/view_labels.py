"""What a view says of itself: letters at the image's edges, DICOM terms, where its pixels lie, its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from conventions import LPS_TO_RAS

from .dicom_tags import HALF_THICKNESS_MM, VIEW_POSITIONS
from .geometry import POSES, Beam, ConeBeam, ParallelBeam, Vector

AXIS_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
"""Letters of the directions +x and -x, +y and -y, +z and -z in LPS."""

LEAST_SHARE = 0.01
"""A direction's component below this share gets no letter (half a degree)."""

SAME_DIRECTION = 0.9999
"""Cosine from which on a beam counts as that of a pose (0.8 degrees)."""


def beam_direction(view: Beam) -> Vector:
    """Unit vector (x, y, z) in LPS from the source to the detector's centre."""
    if isinstance(view, ParallelBeam):
        return view.direction
    x, y, z = np.subtract(view.detector_centre, view.source) / view.sdd
    return float(x), float(y), float(z)


def pose_of(view: Beam) -> str | None:
    """The key of `POSES` that the beam runs along, None for an oblique view."""
    beam = beam_direction(view)
    return next((name for name, (pose, _) in POSES.items() if np.dot(beam, pose) > SAME_DIRECTION), None)


def view_position(view: Beam) -> str:
    """DICOM's View Position (0018,5101): PA, AP, LL or RL; empty for a direction that has no term."""
    pose = pose_of(view)
    return next((term for term, name in VIEW_POSITIONS.items() if name == pose), "")


def direction_letters(direction: Sequence[float] | np.ndarray) -> str:
    """What an image's direction is called: "L" to the patient's left, "LP" to the left and a little to the back.

    Args:
        direction: (x, y, z) in LPS, any length.

    Returns:
        One to three of L R P A H F, the largest component first, as in DICOM's Patient Orientation (0020,0020).
    """
    unit = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    order = np.argsort(-np.abs(unit), kind="stable")
    return "".join(AXIS_LETTERS[i][int(unit[i] < 0)] for i in order if abs(unit[i]) > LEAST_SHARE)


def edge_letters(view: Beam) -> tuple[str, str, str, str]:
    """Letters at the top, bottom, left and right edge of the image."""
    rows, columns = np.array(view.row_step), np.array(view.column_step)
    top, bottom, left, right = (direction_letters(edge) for edge in (-rows, rows, -columns, columns))
    return top, bottom, left, right


def detector_affine(view: Beam, isocentre_lps: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Affine of an image (columns, rows, 1) that lies where the detector stands.

    Args:
        view: the view.
        isocentre_lps: (x, y, z) in mm, LPS, of the isocentre in the patient frame wanted.

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
    """DICOM's Distance Source to Patient (0018,1111) in mm, None where the view is oblique or its rays parallel.

    In a radiograph it ends at the surface that the patient leans on (PS3.3 table C.8-72), which a CT does not tell:
    half an adult's chest behind the isocentre, as `from_dicom_tags` takes it off again.
    """
    pose = pose_of(view)
    return view.sod + HALF_THICKNESS_MM[pose] if isinstance(view, ConeBeam) and pose is not None else None


def view_record(view: Beam) -> dict[str, Any]:
    """The numbers of a view for a JSON file; `ConeBeam(**record["view"])` rebuilds it."""
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
