"""Find the view of a DICOM radiograph in its tags (PS3.3 C.8.7.3, C.8.11.5; PS3.16 CID 4010)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from conventions import View
from drr import VIEW_POSITIONS

from ...record import DecisionRecord
from .header import Header
from .orientation import OPPOSITE, UPRIGHT, main_directions

pydicom, has_pydicom = optional_import("pydicom")

VIEW_TAGS = ("ViewPosition", "ViewCodeSequence", "PatientOrientation")
"""Tags that may state the view, in the order in which they are believed."""


@dataclass(frozen=True)
class Projection:
    """Direction of the rays that a tag states.

    Args:
        view: view that models read; None for another.
        name: name for the record.
        usual: whether chest models are made for it.
    """

    view: View | None
    name: str
    usual: bool = True


_PA = Projection(View.PA, "PA")
_AP = Projection(View.PA, "AP", usual=False)
_AXIAL = Projection(View.PA, "AP axial", usual=False)
_FRONTAL = Projection(View.PA, "frontal")
_LATERAL = Projection(View.LATERAL, "lateral")
_LEFT = Projection(View.LATERAL, "left lateral (left side at the detector)")
_RIGHT = Projection(View.LATERAL, "right lateral (right side at the detector)")
_OBLIQUE = Projection(None, "oblique", usual=False)
_DECUBITUS = Projection(View.PA, "decubitus", usual=False)

_BY_POSE = {"pa": _PA, "ap": _AP, "left": _LEFT, "right": _RIGHT}

POSITIONS = {
    **{term: _BY_POSE[pose] for term, pose in VIEW_POSITIONS.items()},
    "POSTEROANTERIOR": _PA,
    "ANTEROPOSTERIOR": _AP,
    **dict.fromkeys(("APAXIAL", "LORDOTIC", "APLORDOTIC"), _AXIAL),
    "FRONTAL": _FRONTAL,
    **dict.fromkeys(("LATERAL", "LAT"), _LATERAL),
    **dict.fromkeys(("LLATERAL", "LLAT", "LTLAT", "LEFTLATERAL", "LATERALLEFT", "LEFTLAT"), _LEFT),
    **dict.fromkeys(("RLATERAL", "RLAT", "RTLAT", "RIGHTLATERAL", "LATERALRIGHT", "RIGHTLAT"), _RIGHT),
    **dict.fromkeys(("RLD", "LLD", "APRLD", "APLLD", "PARLD", "PALLD", "DECUBITUS"), _DECUBITUS),
    **dict.fromkeys(("RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "OBLIQUE"), _OBLIQUE),
}
"""View Position (0018,5101), letters alone: the terms of `drr.VIEW_POSITIONS`, what files have in their place, and
terms for which no beam is known."""

CODES = {
    **dict.fromkeys(("399033003", "R-10202"), _FRONTAL),
    **dict.fromkeys(("272479007", "R-40888", "R-10214"), _PA),
    **dict.fromkeys(("399348003", "R-10206"), _AP),
    **dict.fromkeys(("399067008", "R-102CD"), _LATERAL),
    **dict.fromkeys(("399173006", "R-10236"), _LEFT),
    **dict.fromkeys(("399198007", "R-10232"), _RIGHT),
    **dict.fromkeys(("399182000", "R-102C1", "399135007", "R-10220", "399356000", "R-40985"), _OBLIQUE),
    **dict.fromkeys(("399006002", "R-10212", "399038007", "R-10210", "399184004", "R-10238"), _OBLIQUE),
    **dict.fromkeys(("399236003", "R-10234", "260427002", "R-40783"), _OBLIQUE),
}
"""SNOMED CT and SNOMED-RT codes in View Code Sequence (0054,0220), of CID 4010."""


def study_and_view(file: Path) -> tuple[str | None, View | None]:
    """Read what the tags of a file say about its study and view, without its pixels.

    Args:
        file: any file.

    Returns:
        StudyInstanceUID, to be compared and dropped, None where the file is not DICOM; and the view, None where none is
        stated, or an oblique or a decubitus one.
    """
    if not has_pydicom:
        return None, None
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID", *VIEW_TAGS])
    except Exception:  # pydicom raises whatever a file that is not DICOM happens to cause
        return None, None
    return str(dataset.get("StudyInstanceUID") or ""), tagged_view(Header(dataset, DecisionRecord(str(file))))


def dataset_view(dataset: Any) -> View | None:
    """Return the view that a film states.

    Args:
        dataset: a pydicom Dataset with the tags in `VIEW_TAGS`, as far as the film has them.

    Returns:
        As `tagged_view`.
    """
    return tagged_view(Header(dataset, DecisionRecord("dataset", log=None)))


def tagged_view(header: Header) -> View | None:
    """Return the view that the tags `VIEW_TAGS` state; None where they state none, or an oblique or a decubitus one."""
    projection = _projection(header)
    return None if projection is None or projection is _DECUBITUS else projection.view


def find_view(header: Header, asked: View) -> View | None:
    """Compare the view that the tags state with the requested one.

    Args:
        header: tags of the film.
        asked: view that the film is taken for.

    Returns:
        The view that the tags state; None where they state none that a model reads.
    """
    record = header.record
    if header.text("ViewPosition") and view_position(header) not in POSITIONS:
        record.doubt("view", "ViewPosition holds an unknown term")
    projection, by_letters = _projection(header), _by_letters(header)
    if projection is None:
        record.assumed("view", f"not stated; taken for {asked} as asked")
        return None
    if not projection.usual:
        record.doubt("view", f"the tags say {projection.name}, which the model is not made for")
    else:
        record.found("view", f"the tags say {projection.name}")
    if projection.view and by_letters and projection.view is not by_letters:
        record.doubt("view", f"PatientOrientation is that of a {by_letters} film, unlike the other tags")
    if projection.view and projection.view is not asked:
        record.doubt("view", f"given as {asked}, but the tags say {projection.name}", confidence=1.0)
    return projection.view


def _projection(header: Header) -> Projection | None:
    """Return what ViewPosition says, else ViewCodeSequence, else PatientOrientation."""
    position = view_position(header)
    if position in POSITIONS:
        return POSITIONS[position]
    for item in header.items("ViewCodeSequence"):
        code = Header(item, header.record).text("CodeValue")
        if code in CODES:
            return CODES[code]
    view = _by_letters(header)
    return None if view is None else Projection(view, f"{view} by PatientOrientation")


def view_position(header: Header) -> str:
    """Return the letters of ViewPosition, which is spelt with spaces, dots and hyphens too."""
    return re.sub("[^A-Z]", "", header.text("ViewPosition"))


def _by_letters(header: Header) -> View | None:
    """Return the view whose right and left are those of the image, by PatientOrientation."""
    directions = main_directions(header)
    axes = {axis for letter in directions or () for axis in (letter, OPPOSITE[letter])}
    return next((view for view, (right, _) in UPRIGHT.items() if right in axes), None)
