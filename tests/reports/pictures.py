"""What a figure shows: the panels by their titles, with their pixels and the letters at their edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Panel:
    pixels: np.ndarray
    letters: tuple[str, ...]
    """At the top, bottom, left and right edge, by where they stand."""
    colours: tuple[float, float]
    """Values of the darkest and of the brightest colour."""

    def side(self, letter):
        """The half of the image at the edge that bears a letter."""
        rows, columns = (n // 2 for n in self.pixels.shape)
        halves = (self.pixels[:rows], self.pixels[rows:], self.pixels[:, :columns], self.pixels[:, columns:])
        return halves[self.letters.index(letter)]


def panels(figure, kind=""):
    """(title, panel) of the images whose title begins with some words, row by row."""
    found = []
    for axes in figure.axes:
        if axes.images and axes.get_title().startswith(kind):
            (image,) = axes.images
            found.append((axes.get_title(), Panel(np.asarray(image.get_array()), _letters(axes), image.get_clim())))
    return found


def _letters(axes):
    """Sort the letters by where they stand in the axes, whose rows must run down and columns to the right."""
    assert axes.yaxis_inverted()
    assert not axes.xaxis_inverted()
    by_place = {text.get_position(): text.get_text() for text in axes.texts}
    top, bottom = max(by_place, key=lambda p: p[1]), min(by_place, key=lambda p: p[1])
    left, right = min(by_place, key=lambda p: p[0]), max(by_place, key=lambda p: p[0])
    return tuple(by_place[place] for place in (top, bottom, left, right))
