"""Find how a DICOM radiograph is turned, from its Patient Orientation (PS3.3 C.7.6.1.1.1)."""

from __future__ import annotations

from conventions import View

from ..turn import Turn
from .header import Header

UPRIGHT = {View.PA: ("L", "F"), View.LATERAL: ("P", "F")}
"""Directions towards the right and the bottom of an image, as models expect them."""

OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "F": "H", "H": "F"}
"""Letters of Patient Orientation, each with that of the opposite direction."""


def main_directions(header: Header) -> tuple[str, str] | None:
    """Return the main directions of the rows and the columns, None if they are missing or make no sense."""
    words = header.words("PatientOrientation")
    if len(words) != 2 or not all(word and set(word) <= OPPOSITE.keys() for word in words):
        return None
    across, down = words[0][0], words[1][0]
    return None if down in (across, OPPOSITE[across]) else (across, down)


def find_turn(header: Header, asked: View) -> Turn:
    """Find how to turn a film: head up, the patient's left at the right of a PA, the front at the left of a lateral.

    Args:
        header: tags of the film, with PatientOrientation (0020,0020), the directions to the right and down.
        asked: view of the film, which decides what is assumed where the tag is missing.

    Returns:
        The turn; that of an upright image where PatientOrientation is missing or does not say.
    """
    record, letters = header.record, main_directions(header)
    if letters is None or not {"F", "H"} & set(letters) or not {"L", "R", "A", "P"} & set(letters):
        usual = "the patient's left at the right" if asked is View.PA else "the front at the left"
        record.assumed("orientation", f"PatientOrientation does not state it; head up and {usual} are assumed")
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
