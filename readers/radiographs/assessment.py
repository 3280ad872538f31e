"""Assess what a film shows: where its lungs are, and what that implies about its view, direction and polarity.

The search for the mean thorax is repeated with the thorax of the other view, mirrored and inverted; the margins between
the best correlations say what the film is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from conventions import View

from .lung_box import LungBox
from .thorax_search import refine_box, search_lungs, tone_correlation

WORKING_SIZE = 110
"""Longest side, in pixels, of the image that is searched."""


@dataclass(frozen=True)
class FilmAssessment:
    """The assessment of a film.

    Args:
        box: box of the lungs, in the requested view and the direction and polarity found.
        view_margin: how much better the requested view fits than the other one, in correlation.
        mirror_margin: how much better the film fits as it is than mirrored.
        polarity: how much better the tones fit as they are than inverted, in correlation; negative where dense is
            dark.
        mirrored: whether the film was mirrored after it was assessed.
    """

    box: LungBox
    view_margin: float
    mirror_margin: float
    polarity: float
    mirrored: bool = False


def equalised(pixels: np.ndarray) -> np.ndarray:
    """Return the ranks of pixels in [0, 1], which no tone curve changes."""
    order = np.sort(pixels[::2, ::2].ravel())
    return (np.searchsorted(order, pixels) / len(order)).astype(np.float32)


def assess_film(pixels: np.ndarray, view: View) -> FilmAssessment:
    """Find the lungs of a film, and its view, direction and polarity.

    Args:
        pixels: (rows, columns) in any tone, square pixels, head up, bright = dense or the reverse.
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
    ways, inverted_ways = _both_ways(tones, view), _both_ways(1 - tones, view)
    found, inverted = _best(ways), _best(inverted_ways)
    polarity = tone_correlation(tones, view, *found) + tone_correlation(tones, view, *inverted)
    likeness = max(found[0].score, inverted[0].score)
    if polarity < 0:
        tones, ways, found = 1 - tones, inverted_ways, inverted
    elsewhere = max(box.score for image in (tones, 1 - tones) for box in _both_ways(image, other))
    box = refine_box(tones, view, *found)
    return FilmAssessment(
        box=box.scaled(pixels.shape[0] / small.shape[0]),
        view_margin=likeness - elsewhere,
        mirror_margin=ways[0].score - ways[1].score,
        polarity=polarity,
    )


def _both_ways(tones: np.ndarray, view: View) -> tuple[LungBox, LungBox]:
    """Return the best boxes in the thorax as it is and in the mirrored one."""
    return search_lungs(tones, view, False), search_lungs(tones, view, True)


def _best(ways: tuple[LungBox, LungBox]) -> tuple[LungBox, bool]:
    """Return the better box, and whether it was found in the mirrored thorax."""
    straight, mirrored = ways
    return (mirrored, True) if mirrored.score > straight.score else (straight, False)
