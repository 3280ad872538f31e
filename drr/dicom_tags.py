"""Find the view of a real radiograph from its DICOM tags, with what had to be assumed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from conventions import InputError

from .geometry import POSES, ConeBeam, Vector

SDD_MM = 1800.0
"""Source-detector distance of a standing chest film, assumed where the tag is missing."""

HALF_THICKNESS_MM = {"pa": 110.0, "ap": 110.0, "left": 160.0, "right": 160.0}
"""Distance from the surface that the patient leans on to the isocentre: half an adult's chest, an estimate."""

GAP_MM = 40.0
"""Distance from the surface that the patient leans on (bucky, table) to the detector behind it: an estimate."""

VIEW_POSITIONS = {"PA": "pa", "AP": "ap", "LL": "left", "RL": "right"}
"""View Position (0018,5101) -> pose; LL and RL are laterals with the left and the right side at the detector."""


class Tags(Protocol):
    """Part of the interface of a pydicom Dataset that is needed; a dictionary of keywords has it too."""

    def get(self, keyword: str, default: Any = None, /) -> Any:
        """Return the value of a keyword."""


@dataclass(frozen=True)
class SourceDistances:
    """Distances of a radiograph along its central ray.

    Args:
        sdd: source-detector distance in mm.
        sod: source-isocentre distance in mm; the isocentre lies in the patient's mid-plane.
        assumed: a sentence for everything that was assumed.
    """

    sdd: float
    sod: float
    assumed: tuple[str, ...]

    @property
    def magnification(self) -> float:
        """Magnification from the patient's mid-plane to the detector."""
        return self.sdd / self.sod


def source_distances(tags: Tags, pose: str | None = None) -> SourceDistances:
    """Find how far the source of a radiograph is from the detector and from the patient's middle.

    Reads DistanceSourceToDetector (0018,1110), DistanceSourceToPatient (0018,1111) and ViewPosition (0018,5101). In a
    radiograph DistanceSourceToPatient ends at the table or bucky that the patient leans on (PS3.3 table C.8-72), not at
    the patient's middle; half a chest is taken off it.

    Args:
        tags: a pydicom Dataset, or a mapping of keywords.
        pose: "pa", "ap", "left" or "right" (lateral, this side at the detector); None takes it from ViewPosition.

    Raises:
        InputError: where the view is missing, or numbers contradict each other.
    """
    pose = _pose(tags, pose)
    assumed = []
    sdd = _number(tags, "DistanceSourceToDetector")
    if sdd is None:
        sdd = SDD_MM
        assumed.append(f"the source is {sdd:g} mm from the detector, since DistanceSourceToDetector is missing")
    surface = _number(tags, "DistanceSourceToPatient")
    if surface is None:
        surface = sdd - GAP_MM
        assumed.append(f"the patient leans {GAP_MM:g} mm before the detector, since DistanceSourceToPatient is missing")
    elif surface >= sdd:
        raise InputError(
            f"DistanceSourceToPatient {surface:g} mm must be less than DistanceSourceToDetector {sdd:g} mm"
        )
    sod = surface - HALF_THICKNESS_MM[pose]
    if sod <= 0:
        raise InputError(f"DistanceSourceToPatient {surface:g} mm is too short for a radiograph of the chest")
    assumed.append(f"the isocentre lies {HALF_THICKNESS_MM[pose]:g} mm before the surface that the patient leans on")
    return SourceDistances(sdd, sod, tuple(assumed))


def from_dicom_tags(tags: Tags, pose: str | None = None) -> tuple[ConeBeam, tuple[str, ...]]:
    """Find the cone beam of a radiograph, its central ray through the middle of the image and of the patient.

    Reads the tags of `source_distances`, ImagerPixelSpacing (0018,1164), Rows and Columns.

    Args:
        tags: a pydicom Dataset, or a mapping of keywords.
        pose: "pa", "ap", "left" or "right" (lateral, this side at the detector); None takes it from ViewPosition.

    Returns:
        The view, and a sentence for everything that was assumed.

    Raises:
        InputError: where pixel spacing, size or view are missing, or numbers contradict each other.
    """
    pose = _pose(tags, pose)
    rows, columns = _number(tags, "Rows"), _number(tags, "Columns")
    if rows is None or columns is None:
        raise InputError("Rows and Columns are missing: the image has no size")
    (row_spacing, column_spacing), assumed = _spacing(tags)
    distances = source_distances(tags, pose)
    sdd, sod = distances.sdd, distances.sod
    (x, y, z), across = POSES[pose]
    column_step: Vector = (across[0] * column_spacing, across[1] * column_spacing, across[2] * column_spacing)
    view = ConeBeam(
        source=(-sod * x, -sod * y, -sod * z),
        detector_centre=((sdd - sod) * x, (sdd - sod) * y, (sdd - sod) * z),
        column_step=column_step,
        row_step=(0.0, 0.0, -row_spacing),
        detector_shape=(int(rows), int(columns)),
    )
    return view, (*assumed, *distances.assumed, "the central ray meets the middle of the image and of the volume")


def _pose(tags: Tags, pose: str | None) -> str:
    if pose is None:
        position = str(tags.get("ViewPosition") or "")
        if position not in VIEW_POSITIONS:
            raise InputError(f"ViewPosition is {position!r}: pass pose, one of {', '.join(POSES)}")
        return VIEW_POSITIONS[position]
    if pose not in POSES:
        raise InputError(f"unknown pose {pose!r}: choose one of {', '.join(POSES)}")
    return pose


def _spacing(tags: Tags) -> tuple[tuple[float, float], tuple[str, ...]]:
    """Return the distances between rows and between columns in mm, and what was assumed."""
    keyword = "ImagerPixelSpacing"
    assumed: tuple[str, ...] = ()
    if not tags.get(keyword):
        keyword = "PixelSpacing"
        if not tags.get(keyword):
            raise InputError("neither ImagerPixelSpacing nor PixelSpacing is there: the size of a pixel is not known")
        assumed = ("PixelSpacing is the spacing at the detector, since ImagerPixelSpacing is missing",)
    spacing = tags.get(keyword)
    if isinstance(spacing, (str, bytes)) or not hasattr(spacing, "__len__") or len(spacing) != 2:
        raise InputError(f"{keyword} must be two numbers in mm, got {spacing!r}")
    rows, columns = (_number({keyword: side}, keyword) for side in spacing)
    if rows is None or columns is None:
        raise InputError(f"{keyword} must be two numbers in mm, got {spacing!r}")
    return (rows, columns), assumed


def _number(tags: Tags, keyword: str) -> float | None:
    value = tags.get(keyword)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{keyword} must be a number, got {value!r}") from error
    if not (math.isfinite(number) and number > 0):
        raise InputError(f"{keyword} must be positive, got {value!r}")
    return number
