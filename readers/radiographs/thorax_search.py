"""Find the lungs of a film by laying a mean thorax over it in many sizes and places.

The mean thorax was averaged from DRRs of CTs whose lungs are known (`python -m cohort reference`). Where its structure
correlates best with that of the film, the lungs are. Nothing is learned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn.functional import conv2d, interpolate

from conventions import View

from .lung_box import LungBox, crop_to_box
from .reference import MARGIN, TEMPLATE_SIZE, thorax_template

BOX = TEMPLATE_SIZE / (1 + 2 * MARGIN)
"""Side of the lung box in the mean thorax, in its pixels."""

COARSE = 5.0
"""Sigma of the blur that is subtracted, in pixels of the mean thorax; tones differ between films, structures do not."""

CONTEXT = {"top": 0.12, "bottom": 0.2, "side": 0.1}
"""Parts of the mean thorax around the lung box that are compared, in sides of the box."""

PADDING = 0.25
"""Margin added to the film on every side, in sides of the box; a lung box may reach beyond the film."""

MIN_OVERLAP = 0.6
"""Smallest share of the mean thorax that must lie on the film."""

ASPECTS = {View.PA: (0.68, 1.15, 5), View.LATERAL: (1.0, 1.8, 5)}
"""Ratios of height and width of lung boxes: smallest, largest, number of steps."""

HEIGHTS = {View.PA: (0.5, 0.98, 8), View.LATERAL: (0.42, 0.98, 8)}
"""Heights of lung boxes, in heights of the film: smallest, largest, number of steps."""

WIDTHS = {View.PA: (0.52, 1.02), View.LATERAL: (0.3, 1.02)}
"""Widths of lung boxes, in widths of the film: smallest and largest."""

PLACE = (0.47, 0.5)
"""Expected centre of a lung box, in heights and widths of the film."""

FREE, PENALTY = 0.08, 2.0
"""Distance from the expected centre that costs nothing, and what the square of the rest costs in correlation."""

REFINEMENTS = (0.06, 0.03, 0.015)
"""Relative steps in which the best size is refined."""

_Ends = tuple[np.ndarray, np.ndarray]
"""First and one past the last of some rows or columns."""


@dataclass(frozen=True)
class _Template:
    """Compared part of a mean thorax, and where the lung box begins in it."""

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


def _sizes(view: View, shape: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    """Yield heights and widths of lung boxes to try, in pixels."""
    for aspect in np.geomspace(*ASPECTS[view]):
        for height in np.geomspace(*HEIGHTS[view]) * shape[0]:
            width = height / aspect
            if WIDTHS[view][0] * shape[1] < width < WIDTHS[view][1] * shape[1]:
                yield height, width


def search_lungs(tones: np.ndarray, view: View, mirrored: bool) -> tuple[LungBox, LungBox]:
    """Find the best lung box in coarse sizes.

    Args:
        tones: (rows, columns) ranks in [0, 1], at most about a hundred per side.
        view: view of the mean thorax.
        mirrored: whether to lay the mirrored thorax over the film.

    Returns:
        The box in pixels for the tones as they are, and the one for inverted tones; each with the score -1 where no
        size fits the film.
    """
    template = _template(view, mirrored)
    nothing = LungBox(0, tones.shape[0], 0, tones.shape[1], -1.0)
    boxes = [_place(tones, template, height, width) for height, width in _sizes(view, tones.shape)]
    plain, inverted = (max(one, key=_score) for one in zip((nothing, nothing), *boxes, strict=True))
    return plain, inverted


def _score(box: LungBox) -> float:
    return box.score


def refine_box(tones: np.ndarray, view: View, box: LungBox, mirrored: bool) -> LungBox:
    """Find the best lung box in sizes near that of a box; all other arguments as in `search_lungs`."""
    template = _template(view, mirrored)
    for step in REFINEMENTS:
        factors = (1 - step, 1.0, 1 + step)
        near = [_place(tones, template, box.height * h, box.width * w)[0] for h in factors for w in factors]
        box = max(box, *near, key=_score)
    return box


def _place(tones: np.ndarray, template: _Template, height: float, width: float) -> tuple[LungBox, LungBox]:
    """Return the best place of a box of one size, for the tones as they are and for inverted ones."""
    rows, columns = tones.shape
    shape = (max(2, round(rows * BOX / height)), max(2, round(columns * BOX / width)))
    scaled = interpolate(torch.from_numpy(tones)[None, None], shape, mode="bilinear", antialias=True)[0, 0].numpy()
    structure, padding = _structure(scaled), round(PADDING * BOX)
    if any(n + 2 * padding < m for n, m in zip(shape, template.structure.shape, strict=True)):
        nothing = LungBox(0, rows, 0, columns, -1.0)
        return nothing, nothing
    scores, enough = correlation_map(structure, padding, template.structure)
    tops = (np.arange(scores.shape[0]) - padding - template.offset[0] + MARGIN * BOX) * rows / shape[0]
    lefts = (np.arange(scores.shape[1]) - padding - template.offset[1] + MARGIN * BOX) * columns / shape[1]
    off = [
        np.clip(abs(centre - expected) - FREE, 0, None) ** 2
        for centre, expected in zip(((tops + height / 2) / rows, (lefts + width / 2) / columns), PLACE, strict=True)
    ]
    boxes = []
    for sign in (1, -1):  # inverted tones have the same structure with the other sign
        signed = np.where(enough, sign * scores, -1) - PENALTY * (off[0][:, None] + off[1][None])
        i, j = np.unravel_index(signed.argmax(), signed.shape)
        top = tops[i] + _between(signed[:, j], int(i)) * rows / shape[0]
        left = lefts[j] + _between(signed[i], int(j)) * columns / shape[1]
        boxes.append(LungBox(top, top + height, left, left + width, float(signed[i, j])))
    return boxes[0], boxes[1]


def _between(scores: np.ndarray, peak: int) -> float:
    """Return where the top of a parabola through a peak and its neighbours lies, in steps from the peak."""
    if not 0 < peak < len(scores) - 1:
        return 0.0
    before, at, after = scores[peak - 1 : peak + 2]
    bend = before - 2 * at + after
    return float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def correlation_map(film: np.ndarray, padding: int, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlate a template with a film at every place.

    Args:
        film: (rows, columns).
        padding: number of pixels by which the template may reach beyond the film on every side.
        template: (rows, columns), not larger than the film with its padding.

    Returns:
        The Pearson correlation over what lies on the film, for each place of the template's first pixel from -padding
        on; and whether enough of the template lies there, bool of the same shape.
    """
    t = template - template.mean()
    first = [np.arange(n + 2 * padding - m + 1) - padding for n, m in zip(film.shape, t.shape, strict=True)]
    ends = [(at.clip(0, n), (at + m).clip(0, n)) for at, n, m in zip(first, film.shape, t.shape, strict=True)]
    of_template = [(begin - at, end - at) for at, (begin, end) in zip(first, ends, strict=True)]
    rows, columns = (end - begin for begin, end in ends)
    count = np.outer(rows, columns)
    sum_f, sum_ff = (_sums(image, *ends) for image in (film, film * film))
    sum_t, sum_tt = (_sums(image, *of_template) for image in (t, t * t))
    f, kernel = (torch.from_numpy(image.astype(np.float32))[None, None] for image in (film, t))
    sum_ft = conv2d(f, kernel, padding=padding)[0, 0].numpy()
    over = count.clip(1)
    spread = (sum_ff - sum_f**2 / over).clip(1e-6) * (sum_tt - sum_t**2 / over).clip(1e-6)
    return (sum_ft - sum_f * sum_t / over) / np.sqrt(spread), count >= MIN_OVERLAP * t.size


def _sums(image: np.ndarray, rows: _Ends, columns: _Ends) -> np.ndarray:
    """Return the sums of an image between the ends of some rows and of some columns."""
    below = np.pad(image.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    (top, bottom), (left, right) = rows, columns
    return below[bottom][:, right] - below[bottom][:, left] - below[top][:, right] + below[top][:, left]


def tone_correlation(tones: np.ndarray, view: View, box: LungBox, mirrored: bool) -> float:
    """Return the Pearson correlation of the tones in a box with those of the mean thorax, 0 where the film is flat.

    All other arguments as in `search_lungs`.
    """
    whole = np.s_[round(MARGIN * BOX) : round((MARGIN + 1) * BOX)]
    a, b = (
        image[whole, whole].ravel()
        for image in (crop_to_box(tones, (box.top, box.bottom, box.left, box.right)), _tones(view, mirrored))
    )
    spread = a.std() * b.std()
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0 and math.isfinite(spread) else 0.0
