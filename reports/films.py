"""Draw the films of a case, what the network was shown of them, and the volume it predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from readers import PlacedFilm

from .figures import PLANES, RADIOGRAPHS_PER_ROW, VIEW_LETTERS, VIEW_TITLES, colours_of_error, draw_picture, grey_of_hu

MARGIN = 5
"""Pixels left free around a film and the frames drawn on it."""


def film_figure(
    films: Sequence[PlacedFilm],
    image: np.ndarray,
    prediction_hu: np.ndarray | None = None,
    title: str = "",
    error_hu: np.ndarray | None = None,
) -> Figure:
    """Draw films with the model's field of view and the lungs marked, the radiographs shown to the network, and planes.

    Args:
        films: one film per view, any number and order of views.
        image: radiographs shown to the network, (views, rows, columns) in [0, 1].
        prediction_hu: predicted volume (D, H, W) in HU; None leaves the planes out.
        title: title of the figure.
        error_hu: expected absolute error of each voxel (D, H, W) in HU; None leaves it out.
    """
    volumes = [
        (words, volume, colours)
        for words, volume, colours in (
            ("synthetic CT", prediction_hu, grey_of_hu()),
            ("expected error", error_hu, colours_of_error()),
        )
        if volume is not None
    ]
    columns = min(len(films), RADIOGRAPHS_PER_ROW)
    of_films = -(-len(films) // RADIOGRAPHS_PER_ROW)  # rows that the films fill, and the radiographs again
    rows = 2 * of_films + len(volumes)
    if volumes:
        columns = max(columns, len(PLANES))
    figure = Figure(figsize=(4.2 * columns, 4.3 * rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    places = figure.subplots(rows, columns, squeeze=False)
    for axes in places.ravel():
        axes.set_axis_off()
    of_row = places[:, :RADIOGRAPHS_PER_ROW]
    above, below = (part.ravel()[: len(films)] for part in (of_row[:of_films], of_row[of_films : 2 * of_films]))
    for film, shown, axes, axes_shown in zip(films, image, above, below, strict=True):
        name, letters = VIEW_TITLES[film.view], VIEW_LETTERS[film.view]
        _draw_film(axes, film, f"film, {name}", letters)
        draw_picture(axes_shown, shown, f"shown to the network, {name}", letters, cmap="gray", vmin=0, vmax=1)
    for row, (words, volume, colours) in zip(places[2 * of_films :], volumes, strict=True):
        for axes, (plane, (axis, letters)) in zip(row, PLANES.items(), strict=False):
            pixels = volume.take(volume.shape[axis] // 2, axis=axis)
            shown = draw_picture(axes, pixels, f"{words}, {plane}", letters, **colours)
        if volume is error_hu:
            figure.colorbar(shown, ax=list(row), location="right", shrink=0.8, label="HU")
    return figure


def _draw_film(axes: Any, film: PlacedFilm, title: str, letters: Sequence[str]) -> None:
    draw_picture(axes, film.picture, title, letters, cmap="gray", vmin=0, vmax=1)
    _frame(axes, film.frame, "cyan", "field of view of the model")
    if film.lungs is not None:
        box = film.lungs
        _frame(axes, (box.top, box.bottom, box.left, box.right), "yellow", f"lungs ({box.score:.2f})")
    rows, columns = film.picture.shape
    top, bottom, left, right = film.frame
    axes.set_xlim(min(0, left) - MARGIN, max(columns, right) + MARGIN)
    axes.set_ylim(max(rows, bottom) + MARGIN, min(0, top) - MARGIN)
    axes.legend(loc="lower left", fontsize=6)


def _frame(axes: Any, edges: tuple[float, ...], colour: str, label: str) -> None:
    top, bottom, left, right = (edge - 0.5 for edge in edges)
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1, label=label)
    )
