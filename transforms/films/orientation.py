"""View and orientation of a DICOM radiograph by its tags (PS3.3 C.7.6.1.1.1, C.8.7.3, C.8.11.5; PS3.16 CID 4010)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conventions import View

from .tags import Header


@dataclass(frozen=True)
class Projection:
    """What a tag says of the direction of the rays.

    Args:
        view: of the model's; None for another.
        name: for the record.
        usual: whether a chest model is made for it.
    """

    view: View | None
    name: str
    usual: bool = True


_PA = Projection(View.PA, "PA")
_AP = Projection(View.PA, "AP", usual=False)
_FRONTAL = Projection(View.PA, "frontal")
_LATERAL = Projection(View.LATERAL, "lateral")
_LEFT = Projection(View.LATERAL, "left lateral (left side at the detector)")
_RIGHT = Projection(View.LATERAL, "right lateral (right side at the detector)")
_OBLIQUE = Projection(None, "oblique", usual=False)
_DECUBITUS = Projection(View.PA, "decubitus", usual=False)

POSITIONS = {
    **{"PA": _PA, "AP": _AP, "LL": _LEFT, "RL": _RIGHT, "LATERAL": _LATERAL, "LAT": _LATERAL},
    **dict.fromkeys(("RLD", "LLD"), _DECUBITUS),
    **dict.fromkeys(("RLO", "LLO", "RAO", "LAO", "RPO", "LPO", "OBLIQUE"), _OBLIQUE),
}
"""View Position (0018,5101)."""

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

UPRIGHT = {View.PA: ("L", "F"), View.LATERAL: ("P", "F")}
"""Directions to the image's right and bottom that the model expects."""

OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "F": "H", "H": "F"}


def find_view(header: Header, asked: View) -> View | None:
    """Hold what the tags say of the view against the one asked for.

    Args:
        header: of the film.
        asked: what the film is taken for.

    Returns:
        The view that the tags state; None where they state none of the model's.
    """
    record = header.record
    projection = _projection(header)
    letters = _letters(header)
    by_letters = next((view for view, (right, _) in UPRIGHT.items() if right in _axes(letters)), None)
    if projection is None:
        if by_letters is None:
            record.assumed("view", f"not stated; taken for {asked} as asked")
            return None
        projection = Projection(by_letters, f"{by_letters} by PatientOrientation")
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
    """What ViewPosition says, else ViewCodeSequence."""
    position = header.text("ViewPosition")
    if position in POSITIONS:
        return POSITIONS[position]
    if position:
        header.record.doubt("view", "ViewPosition holds a term that is not known")
    for item in header.items("ViewCodeSequence"):
        code = Header(item, header.record).text("CodeValue")
        if code in CODES:
            return CODES[code]
    return None


def _letters(header: Header) -> tuple[str, str] | None:
    """Main directions of the rows and the columns; None where they are missing or make no sense."""
    words = header.words("PatientOrientation")
    if len(words) != 2 or not all(word and set(word) <= OPPOSITE.keys() for word in words):
        return None
    across, down = words[0][0], words[1][0]
    return None if down in (across, OPPOSITE[across]) else (across, down)


def _axes(letters: tuple[str, str] | None) -> set[str]:
    return {axis for letter in letters or () for axis in (letter, OPPOSITE[letter])}


@dataclass(frozen=True)
class Turn:
    """Brings an image upright.

    Args:
        transposed: rows and columns change places, before the rest.
        mirrored: columns are reversed.
        overturned: rows are reversed.
    """

    transposed: bool = False
    mirrored: bool = False
    overturned: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Turn (rows, columns)."""
        image = image.T if self.transposed else image
        return image[:: -1 if self.overturned else 1, :: -1 if self.mirrored else 1]


def find_turn(header: Header, asked: View) -> Turn:
    """Find how to turn a film: head up, the patient's left at the right of a PA, the front at the left of a lateral.

    Args:
        header: of the film, with PatientOrientation (0020,0020), two words: the directions to the right and down.
        asked: the view, for what is assumed where the tag is missing.

    Returns:
        The turn; none where PatientOrientation is missing or does not tell.
    """
    record, letters = header.record, _letters(header)
    if letters is None or not {"F", "H"} & set(letters) or not {"L", "R", "A", "P"} & set(letters):
        usual = "the patient's left at the right" if asked is View.PA else "the front at the left"
        record.assumed("orientation", f"PatientOrientation does not tell it; head up and {usual} are assumed")
        if header.text("FieldOfViewHorizontalFlip") == "YES" or header.number("FieldOfViewRotation"):
            record.doubt("orientation", "the tags say that the image was flipped or rotated, and not how it stands now")
        return Turn()
    if any(len(word) > 1 for word in header.words("PatientOrientation")):
        record.doubt("orientation", "PatientOrientation is oblique; its main directions are taken")
    transposed = letters[0] in "FH"
    across, down = letters[::-1] if transposed else letters
    turn = Turn(transposed, across in "RA", down == "H")
    stated = f"PatientOrientation {letters[0]}\\{letters[1]}"
    if turn == Turn():
        record.found("orientation", f"upright by {stated}")
    else:
        done = (("transposed", transposed), ("mirrored", turn.mirrored), ("turned upside down", turn.overturned))
        record.changed("orientation", f"{' and '.join(name for name, is_so in done if is_so)}, by {stated}")
    return turn
