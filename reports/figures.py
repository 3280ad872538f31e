"""Figures of a case and of a training run, drawn with matplotlib's object interface, without a display."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from conventions import HU_WINDOW, View, write_atomically

DIFFERENCE_HU = 500.0
"""Half width of the colour scale of a difference."""

PLANES = {
    "axial": (0, ("A", "P", "R", "L")),
    "coronal": (1, ("H", "F", "R", "L")),
    "sagittal": (2, ("H", "F", "A", "P")),
}
"""Plane -> the volume's axis (D, H, W) it cuts, and the letters at its top, bottom, left and right edge."""

VIEW_LETTERS = {View.PA: ("H", "F", "R", "L"), View.LATERAL: ("H", "F", "A", "P")}
"""View -> letters at the top, bottom, left and right edge of the radiograph."""

RADIOGRAPHS_A_ROW = 4
"""Of `draw_radiographs`."""


def _letters(axes: Any, letters: Sequence[str]) -> None:
    """Name the patient's sides at the edges: right/left, anterior/posterior, head/feet."""
    places = [(0.5, 0.97, "center", "top"), (0.5, 0.03, "center", "bottom")]
    places += [(0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")]
    for letter, (x, y, horizontal, vertical) in zip(letters, places, strict=True):
        axes.text(x, y, letter, color="yellow", ha=horizontal, va=vertical, transform=axes.transAxes, fontsize=8)


def draw_picture(axes: Any, pixels: np.ndarray, title: str, letters: Sequence[str], **colours: Any) -> Any:
    """Show an image with the patient's sides at its edges.

    Args:
        axes: where to draw.
        pixels: (rows, columns).
        title: above the image.
        letters: at its top, bottom, left and right edge.
        **colours: of matplotlib's `imshow`.

    Returns:
        What `imshow` returns.
    """
    image = axes.imshow(pixels, interpolation="nearest", **colours)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    _letters(axes, letters)
    return image


def grey_of_hu() -> dict[str, Any]:
    """Colours of a volume in HU."""
    return {"cmap": "gray", "vmin": HU_WINDOW[0], "vmax": HU_WINDOW[1]}


def case_figure(
    image: np.ndarray, prediction_hu: np.ndarray, truth_hu: np.ndarray | None = None, title: str = ""
) -> Figure:
    """The radiographs of a case and three planes through the centre of its volumes.

    Args:
        image: radiographs (views, rows, columns) in [0, 1], PA first.
        prediction_hu: predicted volume (D, H, W) in HU.
        truth_hu: true volume (D, H, W) in HU; with it, truth and difference are drawn too.
        title: of the figure.
    """
    grey = grey_of_hu()
    volumes = {"prediction": (prediction_hu, grey)}
    if truth_hu is not None:
        difference = {"cmap": "RdBu_r", "vmin": -DIFFERENCE_HU, "vmax": DIFFERENCE_HU}
        volumes = {
            "truth": (truth_hu, grey),
            **volumes,
            "prediction - truth": (prediction_hu - truth_hu, difference),
        }
    columns = len(volumes) + 1
    figure = Figure(figsize=(3.1 * columns, 9.2), layout="constrained")
    grid = figure.subplots(3, columns, squeeze=False)
    figure.suptitle(title, fontsize=11)
    for row, axes in enumerate(grid[:, 0]):
        if row < image.shape[0]:
            view = list(View)[row]
            draw_picture(axes, image[row], f"radiograph, {view}", VIEW_LETTERS[view], cmap="gray", vmin=0, vmax=1)
        else:
            axes.set_axis_off()
    for column, (name, (volume, colours)) in enumerate(volumes.items(), start=1):
        for row, (plane, (axis, letters)) in enumerate(PLANES.items()):
            pixels = volume.take(volume.shape[axis] // 2, axis=axis)
            shown = draw_picture(grid[row, column], pixels, f"{name}, {plane}", letters, **colours)
        figure.colorbar(shown, ax=list(grid[:, column]), location="bottom", shrink=0.9, label="HU")
    return figure


def draw_case(
    path: str | os.PathLike[str],
    image: np.ndarray,
    prediction_hu: np.ndarray,
    truth_hu: np.ndarray | None = None,
    title: str = "",
) -> Path:
    """Write a `case_figure`.

    Args:
        path: PNG to write.
        image: see `case_figure`, as all that follow.
        prediction_hu: see `case_figure`.
        truth_hu: see `case_figure`.
        title: see `case_figure`.

    Returns:
        The file written.
    """
    return save_figure(case_figure(image, prediction_hu, truth_hu, title), path)


def draw_losses(
    path: str | os.PathLike[str], losses: Mapping[str, Sequence[float]], validation: Mapping[int, float], metric: str
) -> Path:
    """Draw the loss curves of a training run.

    Args:
        path: PNG to write.
        losses: name -> mean of each epoch, weights included.
        validation: epoch -> value of the validation metric.
        metric: name of that metric.

    Returns:
        The file written.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in losses.items():
        left.plot(range(1, len(values) + 1), values, label=name, linewidth=1.2, marker=".")
    left.set(xlabel="epoch", ylabel="weighted loss, mean of the epoch", yscale="log", title="training")
    left.legend(fontsize=8)
    right.plot(list(validation), list(validation.values()), marker="o", markersize=3, linewidth=1.2)
    right.set(xlabel="epoch", ylabel=metric, title="validation")
    return save_figure(figure, path)


def draw_radiographs(
    path: str | os.PathLike[str],
    images: np.ndarray,
    names: Sequence[str],
    letters: Sequence[Sequence[str]],
    title: str = "",
) -> Path:
    """Draw radiographs side by side with the patient's sides at their edges, to check directions by eye.

    Args:
        path: PNG to write.
        images: (views, rows, columns) in [0, 1].
        names: of the views.
        letters: of each view, at the top, bottom, left and right edge.
        title: of the figure.

    Returns:
        The file written.
    """
    rows = -(-len(names) // RADIOGRAPHS_A_ROW)
    columns = min(len(names), RADIOGRAPHS_A_ROW)
    figure = Figure(figsize=(4 * columns, 4.3 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(names) :]:
        axes.set_axis_off()
    for axes, image, name, edges in zip(places, images, names, letters, strict=False):
        draw_picture(axes, image, name, edges, cmap="gray", vmin=0, vmax=1)
    return save_figure(figure, path)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, whole or not at all."""
    canvas = FigureCanvasAgg(figure)
    return write_atomically(path, lambda part: canvas.print_figure(part, dpi=110, format="png"))
