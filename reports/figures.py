"""Draw cases and training runs with matplotlib's object interface, which needs no display."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from conventions import HU_WINDOW, InputError, View
from drr import edge_letters, view_title, views_of_tensor
from metrics import bland_altman
from storage import write_atomically

ERROR_HU = 500.0
"""Upper end of the colour scale of an expected error."""

DIFFERENCE_HU = 500.0
"""Half width of the colour scale of a difference."""

PLANES = {
    "axial": (0, ("A", "P", "R", "L")),
    "coronal": (1, ("H", "F", "R", "L")),
    "sagittal": (2, ("H", "F", "A", "P")),
}
"""Plane -> axis of the volume (D, H, W) that it cuts, and the letters at its top, bottom, left and right edge."""

VIEW_LETTERS = {View.PA: ("H", "F", "R", "L"), View.LATERAL: ("H", "F", "A", "P")}
"""View -> letters at the top, bottom, left and right edge of the radiograph."""

VIEW_TITLES = {View.PA: "PA", View.LATERAL: "lateral"}
"""View -> name in the title of a picture."""

RADIOGRAPHS_PER_ROW = 4
"""Largest number of radiographs side by side in `draw_radiographs`."""


def _letters(axes: Any, letters: Sequence[str]) -> None:
    """Label the edges with the patient's sides: right/left, anterior/posterior, head/feet."""
    places = [(0.5, 0.97, "center", "top"), (0.5, 0.03, "center", "bottom")]
    places += [(0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")]
    for letter, (x, y, horizontal, vertical) in zip(letters, places, strict=True):
        text = axes.text(x, y, letter, color="yellow", ha=horizontal, va=vertical, transform=axes.transAxes, fontsize=8)
        text.set_path_effects([withStroke(linewidth=1.5, foreground="black")])  # readable on white too


def draw_picture(axes: Any, pixels: np.ndarray, title: str, letters: Sequence[str], **colours: Any) -> Any:
    """Draw an image with the patient's sides at its edges.

    Args:
        axes: axes to draw in.
        pixels: (rows, columns).
        title: title above the image.
        letters: letters at its top, bottom, left and right edge.
        **colours: arguments of matplotlib's `imshow`.

    Returns:
        What `imshow` returns.
    """
    image = axes.imshow(pixels, interpolation="nearest", **colours)
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    _letters(axes, letters)
    return image


def grey_of_hu() -> dict[str, Any]:
    """Return the colours of a volume in HU, as arguments of `draw_picture`."""
    return {"cmap": "gray", "vmin": HU_WINDOW[0], "vmax": HU_WINDOW[1]}


def colours_of_error() -> dict[str, Any]:
    """Return the colours of an expected error in HU, as arguments of `draw_picture`."""
    return {"cmap": "magma", "vmin": 0, "vmax": ERROR_HU}


def colours_of_support(views: int) -> dict[str, Any]:
    """Return the colours of the number of views that see a voxel, as arguments of `draw_picture`."""
    return {"cmap": "viridis", "vmin": 0, "vmax": views}


def describe_views(
    shape: Sequence[int], geometry: torch.Tensor | None = None
) -> list[tuple[str, tuple[str, str, str, str]]]:
    """Name the views of a case and the patient's sides at their edges.

    Args:
        shape: (views, rows, columns) of the radiographs.
        geometry: views (views, 4, 3) in mm, LPS, as in a batch; None takes the first two for PA and lateral, and
            leaves the sides of all others open.

    Returns:
        For each view its title and the letters at its top, bottom, left and right edge.

    Raises:
        InputError: where the geometry has another number of views than the radiographs.
    """
    if geometry is None:
        known = [(VIEW_TITLES[view], VIEW_LETTERS[view]) for view in View]
        others = [(f"view {number}", ("", "", "", "")) for number in range(len(known) + 1, shape[0] + 1)]
        return [*known, *others][: shape[0]]
    if len(geometry) != shape[0]:
        raise InputError(f"the geometry describes {len(geometry)} views of a case with {shape[0]} radiographs")
    (beams,) = views_of_tensor(torch.as_tensor(geometry)[None], shape[1:])
    return [(view_title(beam), edge_letters(beam)) for beam in beams]


def case_figure(
    image: np.ndarray,
    prediction_hu: np.ndarray,
    truth_hu: np.ndarray | None = None,
    title: str = "",
    geometry: torch.Tensor | None = None,
    error_hu: np.ndarray | None = None,
    support: np.ndarray | None = None,
) -> Figure:
    """Draw the radiographs of a case and three planes through the centre of its volumes.

    Args:
        image: radiographs (views, rows, columns) in [0, 1], any number of views.
        prediction_hu: predicted volume (D, H, W) in HU.
        truth_hu: true volume (D, H, W) in HU; with it, truth and difference are drawn too.
        title: title of the figure.
        geometry: views (views, 4, 3) in mm, LPS, as in a batch; None takes the first two for PA and lateral.
        error_hu: expected absolute error of each voxel (D, H, W) in HU, drawn where it is given.
        support: number of views that see each voxel (D, H, W), drawn where it is given.

    Raises:
        InputError: where the geometry has another number of views than the radiographs.
    """
    grey = grey_of_hu()
    volumes = {"prediction": (prediction_hu, grey)}
    if truth_hu is not None:
        difference = {"cmap": "RdBu_r", "vmin": -DIFFERENCE_HU, "vmax": DIFFERENCE_HU}
        volumes = {"truth": (truth_hu, grey), **volumes, "prediction - truth": (prediction_hu - truth_hu, difference)}
    if error_hu is not None:
        volumes["expected error"] = (error_hu, colours_of_error())
    if support is not None:
        volumes["ray support"] = (support, colours_of_support(len(image)))
    views = describe_views(image.shape, geometry)
    rows = len(PLANES)
    of_views = -(-len(views) // rows)  # columns that the radiographs fill, row by row
    columns = of_views + len(volumes)
    figure = Figure(figsize=(3.1 * columns, 9.2), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False)
    places = grid[:, :of_views].ravel()
    for axes, radiograph, (name, letters) in zip(places, image, views, strict=False):
        draw_picture(axes, radiograph, f"radiograph, {name}", letters, cmap="gray", vmin=0, vmax=1)
    for axes in places[len(views) :]:
        axes.set_axis_off()
    for column, (name, (volume, colours)) in enumerate(volumes.items(), start=of_views):
        for row, (plane, (axis, letters)) in enumerate(PLANES.items()):
            pixels = volume.take(volume.shape[axis] // 2, axis=axis)
            shown = draw_picture(grid[row, column], pixels, f"{name}, {plane}", letters, **colours)
        unit = "views" if volume is support else "HU"
        figure.colorbar(shown, ax=list(grid[:, column]), location="bottom", shrink=0.9, label=unit)
    return figure


def draw_case(
    path: str | os.PathLike[str],
    image: np.ndarray,
    prediction_hu: np.ndarray,
    truth_hu: np.ndarray | None = None,
    title: str = "",
    geometry: torch.Tensor | None = None,
    error_hu: np.ndarray | None = None,
) -> Path:
    """Write the figure of a case.

    Args:
        path: PNG to write.
        image: as in `case_figure`.
        prediction_hu: as in `case_figure`.
        truth_hu: as in `case_figure`.
        title: as in `case_figure`.
        geometry: as in `case_figure`.
        error_hu: as in `case_figure`.

    Returns:
        The file written.
    """
    return save_figure(case_figure(image, prediction_hu, truth_hu, title, geometry, error_hu), path)


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
        names: name of each view.
        letters: letters of each view at the top, bottom, left and right edge.
        title: title of the figure.

    Returns:
        The file written.
    """
    return save_figure(radiographs_figure(images, names, letters, title), path)


def radiographs_figure(
    images: np.ndarray, names: Sequence[str], letters: Sequence[Sequence[str]], title: str = ""
) -> Figure:
    """Draw the figure that `draw_radiographs` writes.

    Args:
        images: as in `draw_radiographs`.
        names: as in `draw_radiographs`.
        letters: as in `draw_radiographs`.
        title: as in `draw_radiographs`.
    """
    rows = -(-len(names) // RADIOGRAPHS_PER_ROW)
    columns = min(len(names), RADIOGRAPHS_PER_ROW)
    figure = Figure(figsize=(4 * columns, 4.3 * rows + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(names) :]:
        axes.set_axis_off()
    for axes, image, name, edges in zip(places, images, names, letters, strict=False):
        draw_picture(axes, image, name, edges, cmap="gray", vmin=0, vmax=1)
    return figure


def agreement_of_volumes_figure(reference_ml: Sequence[float], measured_ml: Sequence[float], title: str) -> Figure:
    """Draw differences of volumes over the true ones with the limits of agreement (Bland and Altman).

    The true volume is on the axis, not the mean of both, since it is the reference (Krouwer 2008).

    Args:
        reference_ml: true volume of each case in ml.
        measured_ml: predicted volume of each case in ml; NaN where there is none.
        title: title of the figure.

    Raises:
        InputError: where fewer than two cases have both.
    """
    reference, measured = torch.tensor(reference_ml), torch.tensor(measured_ml)
    agreement = bland_altman(measured, reference)
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(reference, measured - reference, s=18)
    for value, words, style in (
        (agreement.bias, "bias", "-"),
        (agreement.low, "lower limit", "--"),
        (agreement.high, "upper limit", "--"),
    ):
        axes.axhline(value, color="black", linewidth=0.9, linestyle=style, label=f"{words} {value:+.0f} ml")
    axes.set(xlabel="true volume, ml", ylabel="predicted - true, ml", title=title)
    axes.legend(fontsize=8)
    return figure


def error_bands_figure(bands: Mapping[str, str], errors: Mapping[str, Sequence[tuple[float, float, float]]]) -> Figure:
    """Draw the mean absolute error of each tissue as bars with their intervals.

    Args:
        bands: tissue -> its range in HU, for the axis.
        errors: title of a prediction -> mean, lower and upper end for each tissue in HU; NaN leaves a bar or its
            interval out.
    """
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(errors)
    for number, (title, values) in enumerate(errors.items()):
        mean, low, high = np.array(values).T
        places = np.arange(len(bands)) + (number - (len(errors) - 1) / 2) * width
        axes.bar(places, mean, width, yerr=np.stack([mean - low, high - mean]).clip(0), capsize=3, label=title)
    axes.set_xticks(range(len(bands)), [f"{tissue}\n{limits}" for tissue, limits in bands.items()], fontsize=8)
    axes.set(ylabel="mean absolute error, HU", title="errors by tissue")
    axes.legend(fontsize=8)
    return figure


def figure_png(figure: Figure) -> bytes:
    """Return a figure as a PNG."""
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(file, dpi=110, format="png")
    return file.getvalue()


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as PNG, whole or not at all."""
    content = figure_png(figure)
    return write_atomically(path, lambda part: part.write_bytes(content))
