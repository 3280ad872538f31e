"""What a film shows, held against what it is said to be. Nothing is learned; see `lungs`."""

from __future__ import annotations

import numpy as np

from conventions import InputError, View

from .lungs import Reading, read_film
from .record import DecisionKind, DecisionRecord

NO_CHEST = 0.4
"""Correlation with the mean thorax below which a film is refused."""

FAINT_CHEST = 0.55
"""Below which the lungs are doubted."""

SURE_VIEW = 0.2
SURE_DIRECTION = 0.15
SURE_POLARITY = 0.5
"""Margins, in correlation, from which a reading is called certain."""

CLEAR_DIRECTION = 0.03
"""Margin below which the direction of a lateral without a tag is doubted."""

HEART_ON_THE_RIGHT = -0.08
"""Margin below which a PA film looks mirrored."""

TWO_FILMS_ASPECT = 1.5
"""Width by height from which an image may hold two films side by side."""


def check_content(pixels: np.ndarray, view: View, record: DecisionRecord) -> tuple[np.ndarray, Reading]:
    """Look for a chest, doubt what contradicts the view and the polarity, and turn a lateral's front to the left.

    Args:
        pixels: (rows, columns) in [0, 1], square pixels, head up.
        view: what the film is said to be.
        record: told of what was seen; where it has found no orientation in the file, a lateral may be mirrored.

    Returns:
        The film, mirrored where that was decided, and what it looks like.

    Raises:
        InputError: where no chest can be seen, or two films are on one image.
    """
    _refuse_two_films(pixels, view, record)
    reading = read_film(pixels, view)
    score = reading.box.score
    if score < NO_CHEST:
        raise InputError(
            f"{record.file}: no chest can be recognised in it (likeness {score:.2f}, at least {NO_CHEST} is needed); "
            "give a frontal or lateral chest radiograph, head up"
        )
    if score < FAINT_CHEST:
        record.doubt("lungs", "they stand out faintly; their place may be wrong", confidence=_unit(score))
    else:
        record.found("lungs", "seen in the image", confidence=_unit(score))
    if reading.polarity < 0:
        sure = _unit(-reading.polarity / SURE_POLARITY)
        record.doubt("polarity", "bone looks darker than lung; set invert if the film is inverted", confidence=sure)
    if reading.view_margin < 0:
        other = View.LATERAL if view is View.PA else View.PA
        sure = _unit(-reading.view_margin / SURE_VIEW)
        record.doubt("view", f"given as {view}, but looks like a {other}", confidence=sure)
    if view is View.PA:
        _check_heart(reading, record)
        return pixels, reading
    return _front_to_the_left(pixels, reading, record)


def _check_heart(reading: Reading, record: DecisionRecord) -> None:
    if reading.mirror_margin < HEART_ON_THE_RIGHT:
        sure = _unit(-reading.mirror_margin / SURE_DIRECTION)
        record.doubt(
            "orientation", "the heart seems to lie on the patient's right: mirrored, or dextrocardia", confidence=sure
        )


def _front_to_the_left(pixels: np.ndarray, reading: Reading, record: DecisionRecord) -> tuple[np.ndarray, Reading]:
    """A lateral as the models have it; the file's own word goes before what the image looks like."""
    margin = reading.mirror_margin
    sure = _unit(abs(margin) / SURE_DIRECTION)
    stated = any(d.kind is DecisionKind.FOUND and d.subject == "orientation" for d in record.decisions)
    if stated:
        if margin < -CLEAR_DIRECTION:
            record.doubt("orientation", "the front looks to be at the right, which the file denies", confidence=sure)
        return pixels, reading
    if abs(margin) < CLEAR_DIRECTION:
        record.doubt("orientation", "whether the front is at the left can hardly be seen", confidence=sure)
    if margin >= 0:
        record.assumed("orientation", "the front looks to be at the left", confidence=sure)
        return pixels, reading
    record.changed("orientation", "mirrored: the front looked to be at the right", confidence=sure)
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    box = reading.box.mirrored(pixels.shape[1])
    return mirrored, Reading(box, reading.view_margin, -margin, reading.polarity)


def _refuse_two_films(pixels: np.ndarray, view: View, record: DecisionRecord) -> None:
    rows, columns = pixels.shape
    if columns < TWO_FILMS_ASPECT * rows:
        return
    whole = read_film(pixels, view).box.score
    halves = [
        max(read_film(half, one).box.score for one in View)
        for half in (pixels[:, : columns // 2], pixels[:, columns // 2 :])
    ]
    if min(halves) > max(whole, FAINT_CHEST):
        raise InputError(
            f"{record.file}: two films seem to lie side by side ({rows} x {columns} pixels); cut it into one file each"
        )


def _unit(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 2)
