"""Compare what a film shows with what it is said to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from conventions import InputError, View

from ..record import DecisionKind, DecisionRecord
from .assessment import FilmAssessment, assess_film

NO_CHEST = 0.4
"""Correlation with the mean thorax below which a film is refused."""

FAINT_CHEST = 0.55
"""Correlation with the mean thorax below which the lungs are doubted."""

SURE_VIEW = 0.2
SURE_DIRECTION = 0.15
SURE_POLARITY = 0.5
SURE_TURN = 0.3
"""Margins, in correlation, from which an assessment is called certain."""

CLEAR_DIRECTION = 0.03
"""Margin below which the direction of a lateral without a tag is doubted."""

HEART_ON_THE_RIGHT = -0.08
"""Margin below which a PA film looks mirrored."""

TURNED = 0.12
"""Margin from which a film looks turned; upright ones behind shutters and in black borders nearly always stay below."""

ON_ITS_SIDE = 0.2
"""Margin from which a film on its side is refused; it is doubted below, as every film upside down is."""

LYING = {
    1: "to lie on its side, the head to the right",
    2: "to be upside down",
    3: "to lie on its side, the head to the left",
}
"""Quarter turns, counterclockwise, that bring a film upright -> how it seems to be."""

TWO_FILMS_ASPECT = 1.5
"""Ratio of width and height from which an image may hold two films side by side."""


def check_content(pixels: np.ndarray, view: View, record: DecisionRecord) -> tuple[np.ndarray, FilmAssessment]:
    """Find the chest, doubt a contradicted turn, view or polarity, and turn the front of a lateral to the left.

    Args:
        pixels: (rows, columns) in [0, 1], square pixels.
        view: view that the film is said to be.
        record: takes the decisions; where it holds no orientation found in the file, a lateral may be mirrored.

    Returns:
        The film, mirrored where that was decided, and its assessment.

    Raises:
        InputError: where no chest can be recognised, it surely lies on its side, or two films are on one image.
    """
    _refuse_two_films(pixels, view, record)
    assessment = assess_film(pixels, view)
    score = assessment.box.score
    turned = _looks_turned(assessment, record)
    if score < NO_CHEST:
        raise InputError(
            f"{record.file}: no chest can be recognised in it (likeness {score:.2f}, at least {NO_CHEST} is needed); "
            "give a frontal or lateral chest radiograph, head up"
        )
    if score < FAINT_CHEST:
        record.doubt("lungs", "they are faint; their place may be wrong", confidence=_unit(score))
    else:
        record.found("lungs", "seen in the image", confidence=_unit(score))
    if turned:  # nothing else can be seen in it
        return pixels, assessment
    if assessment.polarity < 0:
        sure = _unit(-assessment.polarity / SURE_POLARITY)
        record.doubt("polarity", "bone looks darker than lung; set invert if the film is inverted", confidence=sure)
    if assessment.view_margin < 0:
        other = View.LATERAL if view is View.PA else View.PA
        sure = _unit(-assessment.view_margin / SURE_VIEW)
        record.doubt("view", f"given as {view}, but looks like a {other}", confidence=sure)
    if view is View.PA:
        _check_heart(assessment, record)
        return pixels, assessment
    return _front_to_the_left(pixels, assessment, record)


def _looks_turned(assessment: FilmAssessment, record: DecisionRecord) -> bool:
    """Doubt a film that fits much better turned; refuse it if it surely lies on its side or shows no chest as it is."""
    turn = assessment.turn
    if turn is None or turn.margin < TURNED or turn.score < FAINT_CHEST:
        return False
    lies = f"seems {LYING[turn.quarters]}; turn it so that the head is up"
    sideways = turn.quarters != 2 and turn.margin >= ON_ITS_SIDE
    if sideways or assessment.box.score < NO_CHEST:
        raise InputError(f"{record.file}: {lies}")
    record.doubt("orientation", f"the film {lies}", confidence=_unit(turn.margin / SURE_TURN))
    return True


def _check_heart(assessment: FilmAssessment, record: DecisionRecord) -> None:
    if assessment.mirror_margin < HEART_ON_THE_RIGHT:
        sure = _unit(-assessment.mirror_margin / SURE_DIRECTION)
        record.doubt(
            "orientation", "the heart seems to lie on the patient's right: mirrored, or dextrocardia", confidence=sure
        )


def _front_to_the_left(
    pixels: np.ndarray, assessment: FilmAssessment, record: DecisionRecord
) -> tuple[np.ndarray, FilmAssessment]:
    """Turn a lateral as models expect it, unless the file itself states the orientation."""
    margin = assessment.mirror_margin
    sure = _unit(abs(margin) / SURE_DIRECTION)
    stated = any(d.kind is DecisionKind.FOUND and d.subject == "orientation" for d in record.decisions)
    if stated:
        if margin < -CLEAR_DIRECTION:
            record.doubt("orientation", "the front seems to be at the right, unlike in the tags", confidence=sure)
        return pixels, assessment
    if abs(margin) < CLEAR_DIRECTION:
        record.doubt("orientation", "it is hard to see whether the front is at the left", confidence=sure)
    if margin >= 0:
        record.assumed("orientation", "the front seems to be at the left", confidence=sure)
        return pixels, assessment
    record.changed("orientation", "mirrored: the front seemed to be at the right", confidence=sure)
    mirrored = np.ascontiguousarray(pixels[:, ::-1])
    box = assessment.box.mirrored(pixels.shape[1])
    return mirrored, replace(assessment, box=box, mirror_margin=-margin, mirrored=True)


def _refuse_two_films(pixels: np.ndarray, view: View, record: DecisionRecord) -> None:
    rows, columns = pixels.shape
    if columns < TWO_FILMS_ASPECT * rows:
        return
    whole = assess_film(pixels, view).box.score
    halves = [
        max(assess_film(half, one).box.score for one in View)
        for half in (pixels[:, : columns // 2], pixels[:, columns // 2 :])
    ]
    if min(halves) > max(whole, FAINT_CHEST):
        raise InputError(
            f"{record.file}: two films seem to lie side by side ({rows} x {columns} pixels); save each in its own file"
        )


def _unit(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 2)
