"""Draw how well a volume agrees with its films, before and after it was updated."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from .figures import describe_views, draw_picture, save_figure

DIFFERENCE = 1.0
"""Half width of the colour scale of a difference of line integrals."""


def draw_agreement(
    path: str | os.PathLike[str],
    line_integrals: np.ndarray,
    agreement: Mapping[str, Any],
    geometry: torch.Tensor | None = None,
    title: str = "",
) -> Path:
    """Write the figure of `agreement_figure`. Arguments as there; `path` is the PNG to write.

    Returns:
        The file written.
    """
    return save_figure(agreement_figure(line_integrals, agreement, geometry, title), path)


def agreement_figure(
    line_integrals: np.ndarray, agreement: Mapping[str, Any], geometry: torch.Tensor | None = None, title: str = ""
) -> Figure:
    """Draw each film next to the radiograph of the predicted and of the updated volume, and the differences.

    Args:
        line_integrals: (3, views, rows, columns): of the films as they were read, of the predicted volume, of the
            updated one; NaN is left blank.
        agreement: the record of a `networks.Consistency`.
        geometry: views (views, 4, 3) in mm, LPS; None takes the first two for PA and lateral.
        title: title of the figure.

    Raises:
        InputError: where the geometry has another number of views.
    """
    views = describe_views(line_integrals.shape[1:], geometry)
    figure = Figure(figsize=(15.5, 3.4 * len(views) + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(len(views), 5, squeeze=False)
    for row, (name, letters), film, before, after, differs, differs_after in zip(
        grid, views, *line_integrals, agreement["before"], agreement["after"], strict=True
    ):
        grey = {"cmap": "gray", "vmin": 0, "vmax": float(max(before.max(), after.max(), 1e-6))}
        signed = {"cmap": "RdBu_r", "vmin": -DIFFERENCE, "vmax": DIFFERENCE}
        for axes, pixels, words, colours in (
            (row[0], film, f"film, {name}", grey),
            (row[1], before, "of the CT before the update", grey),
            (row[2], film - before, f"film - CT before (rms {differs:.2f})", signed),
            (row[3], after, "of the CT after it", grey),
            (row[4], film - after, f"film - CT after (rms {differs_after:.2f})", signed),
        ):
            shown = draw_picture(axes, pixels, words, letters, **colours)
    figure.colorbar(shown, ax=[*grid[:, 2], *grid[:, 4]], location="bottom", shrink=0.5, label="line integral")
    return figure
