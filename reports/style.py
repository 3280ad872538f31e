"""Compare translators of style: tables and pictures."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from conventions import View
from storage import set_aside, write_atomically

from .figures import VIEW_LETTERS, VIEW_TITLES, draw_picture, save_figure

DIRECTIONS = {"to_drr": "films to the style of DRRs", "to_real": "DRRs to the style of films"}
"""Direction -> its title."""

MEASURES = {
    "kid": ("KID x 1000", 1000, 2),
    "kid_deviation": ("± x 1000", 1000, 2),
    "fid": ("FID", 1, 3),
    "intensity_wasserstein": ("grey values", 1, 3),
    "power_spectrum_db": ("spectrum dB", 1, 2),
    "structure": ("structure", 1, 3),
    "polarity": ("polarity", 1, 3),
    "polarity_least": ("least", 1, 3),
    "equivariance": ("equivariance", 1, 4),
    "identity": ("identity", 1, 4),
    "cycle": ("cycle", 1, 4),
}
"""Measure -> title, factor and decimals."""

LEGEND = (
    "Best is 0 for KID (± over subsets), FID, grey values (earth mover's distance), spectrum, equivariance, identity "
    "and cycle; best is 1 for structure (correlation of gradients before and after) and polarity (of grey values). "
    "`same style` compares two random halves of the target side; except for KID, half as many images give larger "
    "values. No measure shows that findings are preserved."
)
"""Explanation of the measures, for the page."""


def style_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table in Markdown.

    Args:
        rows: rows of one view and direction, from `engines.StyleEvaluator`.
    """
    found = [key for key in MEASURES if any(key in row for row in rows)]
    lines = ["| translator | " + " | ".join(MEASURES[key][0] for key in found) + " |", "|---" * (len(found) + 1) + "|"]
    for row in rows:
        cells = (f"{row[k] * MEASURES[k][1]:.{MEASURES[k][2]}f}" if k in row else "" for k in found)
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return lines


class StyleReport:
    """A writer of the results of a `StyleEvaluator`: `style.csv`, `style.md`, and a picture per view and direction.

    Files of an earlier run are renamed.

    Args:
        output_dir: folder to write to.
        compared: name -> value of what was compared and how, for the page.
    """

    def __init__(self, output_dir: str | os.PathLike[str], compared: Mapping[str, Any] | None = None) -> None:
        self.output_dir = Path(output_dir)
        self.compared = dict(compared or {})

    def __call__(self, results: Mapping[str, Any]) -> str:
        """Write the files.

        Args:
            results: view -> `engines.StyleOfView`.

        Returns:
            The text of the page.
        """
        page = [
            "# Style of radiographs",
            "",
            *(f"- {name}: {value}" for name, value in self.compared.items()),
            "",
            LEGEND,
        ]
        table: list[dict[str, Any]] = []
        for view, result in results.items():
            for direction, what in DIRECTIONS.items():
                title = f"{VIEW_TITLES[View(view)]}: {what}"
                rows = [row for row in result.rows if row["direction"] == direction]
                picture = self.output_dir / f"{view}_{direction}.png"
                set_aside(picture)
                save_figure(grid_figure(result.pictures[direction], title, view), picture)
                page += ["", f"## {title}", "", *style_table(rows), "", f"![Pictures]({picture.name})"]
                table += [{"view": view} | row for row in rows]
        text = "\n".join(page) + "\n"
        set_aside(self.output_dir / "style.csv", self.output_dir / "style.md")
        write_atomically(self.output_dir / "style.csv", lambda part: _write_table(part, table))
        write_atomically(self.output_dir / "style.md", lambda part: part.write_text(text, encoding="utf-8"))
        return text


def _write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        names = ["view", "direction", "method", *(key for key in MEASURES if any(key in row for row in rows))]
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows({key: row[key] for key in names if key in row} for row in rows)


def grid_figure(pictures: Mapping[str, torch.Tensor], title: str, view: str) -> Figure:
    """Draw images in a grid: a row for each image, a column for each name.

    Args:
        pictures: name -> (images, rows, columns) in [0, 1].
        title: title of the figure.
        view: view of all images.
    """
    count = max(map(len, pictures.values()))
    figure = Figure(figsize=(2.3 * len(pictures), 2.5 * count + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=10)
    places = figure.subplots(count, len(pictures), squeeze=False)
    for column, (name, images) in zip(places.T, pictures.items(), strict=True):
        for axes in column[len(images) :]:
            axes.set_axis_off()
        for axes, image in zip(column, np.asarray(images.cpu()), strict=False):
            draw_picture(axes, image, name, VIEW_LETTERS[View(view)], cmap="gray", vmin=0, vmax=1)
    return figure
