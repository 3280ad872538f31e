"""Box around both lungs on a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .reference import MARGIN, TEMPLATE_SIZE


@dataclass(frozen=True)
class LungBox:
    """Box around both lungs, in pixels of the film; edges are between pixels, and may lie beyond the film.

    Args:
        top: upper edge.
        bottom: lower edge.
        left: left edge.
        right: right edge.
        score: correlation with the mean thorax, at most 1.
    """

    top: float
    bottom: float
    left: float
    right: float
    score: float

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.right - self.left

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the centre."""
        return (self.top + self.bottom) / 2, (self.left + self.right) / 2

    def mirrored(self, columns: int) -> LungBox:
        """Return the box on the same film mirrored left to right."""
        return LungBox(self.top, self.bottom, columns - self.right, columns - self.left, self.score)

    def scaled(self, factor: float) -> LungBox:
        """Return the box on the same film with `factor` times as many pixels per side."""
        top, bottom, left, right = (edge * factor for edge in (self.top, self.bottom, self.left, self.right))
        return LungBox(top, bottom, left, right, self.score)


def crop_to_box(pixels: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """Resample a box and its margins to the size of the mean thorax.

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
