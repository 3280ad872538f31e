"""Assess what a film shows: where its lungs are, and what that implies about its view, direction and polarity.

The search for the mean thorax is repeated with the thorax of the other view, mirrored and inverted, and with the film
turned unless it is plainly upright; the margins between the best correlations say what the film is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate

from conventions import View

from .lung_box import LungBox
from .thorax_search import refine_box, search_lungs, tone_correlation

WORKING_SIZE = 110
"""Longest side, in pixels, of the image that is searched."""

TONE_WEIGHT = 0.5
"""Weight of the correlation of tones where turns are compared: structure alone fits nearly as well upside down."""

UPRIGHT = 1.05
"""Fit, in correlation of structure and tones, from which a film is upright and no turn is tried; no turned film at hand
fits as well as it stands."""


@dataclass(frozen=True)
class FilmTurn:
    """Turn after which a film fits better than as it is.

    Args:
        quarters: number of quarter turns, counterclockwise: 1, 2 or 3.
        margin: how much better the film fits then, in correlation of structure and tones.
        score: correlation of structure then.
    """

    quarters: int
    margin: float
    score: float


@dataclass(frozen=True)
class FilmAssessment:
    """The assessment of a film.

    Args:
        box: box of the lungs, in the requested view and the direction and polarity found.
        view_margin: how much better the requested view fits than the other one, in correlation.
        mirror_margin: how much better the film fits as it is than mirrored.
        polarity: how much better the tones fit as they are than inverted, in correlation; negative where dense is
            dark.
        turn: turn after which the film fits best, None where it fits best as it is.
        mirrored: whether the film was mirrored after it was assessed.
    """

    box: LungBox
    view_margin: float
    mirror_margin: float
    polarity: float
    turn: FilmTurn | None
    mirrored: bool = False


def equalised(pixels: np.ndarray) -> np.ndarray:
    """Return the ranks of pixels in [0, 1], which no tone curve changes."""
    order = np.sort(pixels[::2, ::2].ravel())
    return (np.searchsorted(order, pixels) / len(order)).astype(np.float32)


def assess_film(pixels: np.ndarray, view: View) -> FilmAssessment:
    """Find the lungs of a film, and its view, direction, polarity and turn.

    Args:
        pixels: (rows, columns) in any tone, square pixels, bright = dense or the reverse.
        view: view that the film is said to be.

    Returns:
        The assessment; a `box.score` below about 0.4 means that no lungs were found.
    """
    size = WORKING_SIZE / max(pixels.shape)
    shape = [max(8, round(n * size)) for n in pixels.shape]
    small = interpolate(
        torch.from_numpy(np.ascontiguousarray(pixels, np.float32))[None, None], shape, mode="bilinear", antialias=True
    )[0, 0].numpy()
    tones = equalised(small)
    other = View.LATERAL if view is View.PA else View.PA
    both, of_other = _both_ways(tones, view), _both_ways(tones, other)
    found, inverted = _best(both.plain), _best(both.inverted)
    polarity = tone_correlation(tones, view, *found) + tone_correlation(tones, view, *inverted)
    likeness = both.score
    turn = _find_turn(tones, view, max(_fit(tones, view, both), _fit(tones, other, of_other)))
    if polarity < 0:
        tones, both, found = 1 - tones, _BothWays(both.inverted, both.plain), inverted
    box = refine_box(tones, view, *found)
    return FilmAssessment(
        box=box.scaled(pixels.shape[0] / small.shape[0]),
        view_margin=likeness - of_other.score,
        mirror_margin=both.plain[0].score - both.plain[1].score,
        polarity=polarity,
        turn=turn,
    )


_Ways = tuple[LungBox, LungBox]
"""The best boxes in the thorax as it is and in the mirrored one."""


class _BothWays(NamedTuple):
    """Best boxes for the tones as they are and for inverted ones."""

    plain: _Ways
    inverted: _Ways

    @property
    def score(self) -> float:
        """Best score in any direction and polarity."""
        return max(box.score for ways in self for box in ways)


def _both_ways(tones: np.ndarray, view: View) -> _BothWays:
    straight, mirrored = (search_lungs(tones, view, way) for way in (False, True))
    return _BothWays((straight[0], mirrored[0]), (straight[1], mirrored[1]))


def _fit(tones: np.ndarray, view: View, both: _BothWays) -> float:
    """Return the best correlation of structure and tones in any direction and polarity."""
    return max(
        box.score + TONE_WEIGHT * tone_correlation(image, view, box, mirrored)
        for image, ways in zip((tones, 1 - tones), both, strict=True)
        for box, mirrored in zip(ways, (False, True), strict=True)
    )


def _find_turn(tones: np.ndarray, view: View, as_it_is: float) -> FilmTurn | None:
    """Return the turn after which a film fits better than as it is."""
    if as_it_is >= UPRIGHT:
        return None
    turns = []
    for quarters in (1, 2, 3):
        turned = np.ascontiguousarray(np.rot90(tones, quarters))
        both = _both_ways(turned, view)
        turns.append(FilmTurn(quarters, _fit(turned, view, both) - as_it_is, both.score))
    best = max(turns, key=lambda turn: turn.margin)
    return best if best.margin > 0 else None


def _best(ways: _Ways) -> tuple[LungBox, bool]:
    """Return the better box, and whether it was found in the mirrored thorax."""
    straight, mirrored = ways
    return (mirrored, True) if mirrored.score > straight.score else (straight, False)
