"""Where the lungs are in a radiograph, and what that says about its view, its direction and its polarity.

Nothing is learned: a mean thorax, averaged from radiographs computed of CTs whose lungs are known
(`python -m transforms reference`), is laid over the film in many sizes, and where its structure correlates best there
the lungs are. The same search with the thorax of the other view, mirrored or inverted tells what the film is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import conv2d, interpolate

from conventions import View

from .reference import MARGIN, TEMPLATE_SIZE, thorax_template

WORKING_SIZE = 110
"""Rows or columns, whichever are more, of the image that is searched."""

BOX = TEMPLATE_SIZE / (1 + 2 * MARGIN)
"""Side of the lung box in the template, in its pixels."""

COARSE = 5.0
"""Sigma, in pixels of the template, of what is taken off: tones differ from film to film, structures do not."""

CONTEXT = {"top": 0.12, "bottom": 0.2, "side": 0.1}
"""What of the template beyond the lung box is compared, in sides of the box."""

PADDING = 0.25
"""By which the film is extended on every side, in sides of the box; a lung box may reach beyond it."""

MIN_OVERLAP = 0.6
"""Of the template with the film."""

ASPECTS = {View.PA: (0.68, 1.15, 5), View.LATERAL: (1.0, 1.8, 5)}
"""Height by width of lung boxes: least, most, number of steps."""

HEIGHTS = {View.PA: (0.5, 0.98, 8), View.LATERAL: (0.42, 0.98, 8)}
"""Of lung boxes in heights of the film."""

WIDTHS = {View.PA: (0.52, 1.02), View.LATERAL: (0.3, 1.02)}
"""Of lung boxes in widths of the film: least and most."""

PLACE = (0.47, 0.5)
"""Where a lung box's centre is expected, in heights and widths of the film; within `FREE` there is no penalty."""

FREE, PENALTY = 0.08, 2.0

REFINEMENTS = (0.06, 0.03, 0.015)
"""Relative steps in which the best size is improved."""


@dataclass(frozen=True)
class LungBox:
    """Box around both lungs, in pixels of the film; edges are between pixels, and may lie beyond the film.

    Args:
        top, bottom, left, right: edges.
        score: correlation with the mean thorax, at most 1.
    """

    top: float
    bottom: float
    left: float
    right: float
    score: float

    @property
    def height(self) -> float:
        """In pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> float:
        """In pixels."""
        return self.right - self.left

    @property
    def centre(self) -> tuple[float, float]:
        """(row, column)."""
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2

    def mirrored(self, columns: int) -> LungBox:
        """The box on the same film mirrored left to right."""
        return LungBox(self.top, self.bottom, columns - self.right, columns - self.left, self.score)

    def scaled(self, factor: float) -> LungBox:
        """The box on the same film with `factor` times as many pixels a side."""
        top, bottom, left, right = (edge * factor for edge in (self.top, self.bottom, self.left, self.right))
        return LungBox(top, bottom, left, right, self.score)


@dataclass(frozen=True)
class Reading:
    """What a film looks like.

    Args:
        box: of the lungs, in the view asked for and the direction and polarity found.
        view_margin: how much better the view asked for fits than the other one, in correlation.
        mirror_margin: how much better the film fits as it is than mirrored.
        polarity: how much better the tones fit as they are than inverted, in correlation; negative where dense is
            dark.
    """

    box: LungBox
    view_margin: float
    mirror_margin: float
    polarity: float


@dataclass(frozen=True)
class _Template:
    """The compared part of a mean thorax, and where the lung box begins in it."""

    structure: np.ndarray
    offset: tuple[int, int]


@cache
def _template(view: View, mirrored: bool) -> _Template:
    tones = _tones(view, mirrored)
    rows = [round((MARGIN - CONTEXT["top"]) * BOX), round((MARGIN + 1 + CONTEXT["bottom"]) * BOX)]
    columns = [round((MARGIN - CONTEXT["side"]) * BOX), round((MARGIN + 1 + CONTEXT["side"]) * BOX)]
    part = np.s_[slice(*rows), slice(*columns)]
    return _Template(_structure(tones)[part], (rows[0], columns[0]))


def _tones(view: View, mirrored: bool) -> np.ndarray:
    tones = thorax_template(view)
    return tones[:, ::-1] if mirrored else tones


def _structure(tones: np.ndarray) -> np.ndarray:
    return tones - gaussian_filter(tones, COARSE)


def equalised(pixels: np.ndarray) -> np.ndarray:
    """Ranks of pixels in [0, 1], which no tone curve changes."""
    order = np.sort(pixels[::2, ::2].ravel())
    return (np.searchsorted(order, pixels) / len(order)).astype(np.float32)


def read_film(pixels: np.ndarray, view: View) -> Reading:
    """Find the lungs and what else the film shows.

    Args:
        pixels: (rows, columns) in any tone, square pixels, head up, bright = dense or the reverse.
        view: what the film is said to be.

    Returns:
        What was found; `box.score` below about 0.4 means that nothing was.
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
    polarity = _tone_correlation(tones, view, *found) + _tone_correlation(tones, view, *inverted)
    likeness = max(found[0].score, inverted[0].score)
    if polarity < 0:
        tones, ways, found = 1 - tones, inverted_ways, inverted
    elsewhere = max(box.score for image in (tones, 1 - tones) for box in _both_ways(image, other))
    box = _refine(tones, view, *found)
    return Reading(
        box=box.scaled(pixels.shape[0] / small.shape[0]),
        view_margin=likeness - elsewhere,
        mirror_margin=ways[0].score - ways[1].score,
        polarity=polarity,
    )


def _both_ways(tones: np.ndarray, view: View) -> tuple[LungBox, LungBox]:
    """The best boxes in the thorax as it is and in the mirrored one."""
    return _search(tones, view, False), _search(tones, view, True)


def _best(ways: tuple[LungBox, LungBox]) -> tuple[LungBox, bool]:
    """The better box, and whether it was found in the mirrored thorax."""
    straight, mirrored = ways
    return (mirrored, True) if mirrored.score > straight.score else (straight, False)


def _sizes(view: View, shape: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    """Heights and widths of lung boxes to try, in pixels."""
    for aspect in np.geomspace(*ASPECTS[view]):
        for height in np.geomspace(*HEIGHTS[view]) * shape[0]:
            width = height / aspect
            if WIDTHS[view][0] * shape[1] < width < WIDTHS[view][1] * shape[1]:
                yield height, width


def _search(tones: np.ndarray, view: View, mirrored: bool) -> LungBox:
    """The best box in coarse sizes; one without a score where no size fits the film."""
    template = _template(view, mirrored)
    boxes = (_place(tones, template, height, width) for height, width in _sizes(view, tones.shape))
    nothing = LungBox(0, tones.shape[0], 0, tones.shape[1], -1.0)
    return max(boxes, key=lambda box: box.score, default=nothing)


def _refine(tones: np.ndarray, view: View, box: LungBox, mirrored: bool) -> LungBox:
    """The best box in sizes near a box's."""
    template = _template(view, mirrored)
    for step in REFINEMENTS:
        factors = (1 - step, 1.0, 1 + step)
        near = [_place(tones, template, box.height * h, box.width * w) for h in factors for w in factors]
        box = max(box, *near, key=lambda one: one.score)
    return box


def _place(tones: np.ndarray, template: _Template, height: float, width: float) -> LungBox:
    """The best place of a box of one size."""
    rows, columns = tones.shape
    shape = (max(2, round(rows * BOX / height)), max(2, round(columns * BOX / width)))
    scaled = interpolate(torch.from_numpy(tones)[None, None], shape, mode="bilinear", antialias=True)[0, 0].numpy()
    padding = round(PADDING * BOX)
    structure = np.pad(_structure(scaled), padding)
    inside = np.pad(np.ones_like(scaled), padding)
    if any(n < m for n, m in zip(structure.shape, template.structure.shape, strict=True)):
        return LungBox(0, rows, 0, columns, -1.0)
    scores = _correlation(structure, inside, template.structure)
    tops = (np.arange(scores.shape[0]) - padding - template.offset[0] + MARGIN * BOX) * rows / shape[0]
    lefts = (np.arange(scores.shape[1]) - padding - template.offset[1] + MARGIN * BOX) * columns / shape[1]
    off = [
        np.clip(abs(centre - expected) - FREE, 0, None) ** 2
        for centre, expected in zip(((tops + height / 2) / rows, (lefts + width / 2) / columns), PLACE, strict=True)
    ]
    scores = scores - PENALTY * (off[0][:, None] + off[1][None])
    i, j = np.unravel_index(scores.argmax(), scores.shape)
    top = tops[i] + _between(scores[:, j], int(i)) * rows / shape[0]
    left = lefts[j] + _between(scores[i], int(j)) * columns / shape[1]
    return LungBox(top, top + height, left, left + width, float(scores[i, j]))


def _between(scores: np.ndarray, peak: int) -> float:
    """Where the top of a parabola through a peak and its neighbours lies, in steps from the peak."""
    if not 0 < peak < len(scores) - 1:
        return 0.0
    before, at, after = scores[peak - 1 : peak + 2]
    bend = before - 2 * at + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _correlation(image: np.ndarray, inside: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Pearson correlation of the template with every place of the image, over the pixels that are inside."""
    t = torch.from_numpy(template.astype(np.float32))
    t = t - t.mean()
    kernels = torch.stack([torch.ones_like(t), t, t * t])[:, None]
    w = torch.from_numpy(inside.astype(np.float32))[None, None]
    f = torch.from_numpy(image.astype(np.float32))[None, None]
    count, sum_t, sum_tt = conv2d(w, kernels)[0]
    sum_f, sum_ft = conv2d(f, kernels[:2])[0]
    sum_ff = conv2d(f * f, kernels[:1])[0, 0]
    count = count.clamp(min=1)
    spread = (sum_ff - sum_f**2 / count).clamp(min=1e-6) * (sum_tt - sum_t**2 / count).clamp(min=1e-6)
    scores = (sum_ft - sum_f * sum_t / count) / spread.sqrt()
    scores[count < MIN_OVERLAP * t.numel()] = -1
    return scores.numpy()


def _tone_correlation(tones: np.ndarray, view: View, box: LungBox, mirrored: bool) -> float:
    """Pearson correlation of tones within a box with those of the mean thorax; 0 where the film is flat there."""
    whole = np.s_[round(MARGIN * BOX) : round((MARGIN + 1) * BOX)]
    a, b = (
        image[whole, whole].ravel()
        for image in (crop_to_box(tones, (box.top, box.bottom, box.left, box.right)), _tones(view, mirrored))
    )
    spread = a.std() * b.std()
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 and math.isfinite(spread) else 0.0


def crop_to_box(pixels: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """A box and its margins in the size of the template.

    Args:
        pixels: (rows, columns).
        box: (top, bottom, left, right) edges in pixels.

    Returns:
        (TEMPLATE_SIZE, TEMPLATE_SIZE); the film's edge is repeated beyond it.
    """
    top, bottom, left, right = box
    places = []
    for low, high, count in ((top, bottom, pixels.shape[0]), (left, right, pixels.shape[1])):
        margin = MARGIN * (high - low)
        steps = np.linspace(low - margin, high + margin, TEMPLATE_SIZE + 1)
        places.append(np.clip((steps[1:] + steps[:-1]) / 2 - 0.5, 0, count - 1))
    rows, columns = places
    r0, c0 = np.floor(rows).astype(int), np.floor(columns).astype(int)
    r1, c1 = np.minimum(r0 + 1, pixels.shape[0] - 1), np.minimum(c0 + 1, pixels.shape[1] - 1)
    fr, fc = (rows - r0)[:, None], (columns - c0)[None]
    upper = pixels[np.ix_(r0, c0)] * (1 - fc) + pixels[np.ix_(r0, c1)] * fc
    lower = pixels[np.ix_(r1, c0)] * (1 - fc) + pixels[np.ix_(r1, c1)] * fc
    return upper * (1 - fr) + lower * fr
