"""Translators of style beside each other: tables, pictures, and panels while they learn."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from conventions import Keys, View, set_aside, write_atomically

from .figures import VIEW_LETTERS, draw_picture, save_figure
from .handlers import SECONDS_BETWEEN_DRAWINGS

DIRECTIONS = {
    "to_drr": "films to the style of radiographs of CTs",
    "to_real": "radiographs of CTs to the style of films",
}

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
"""Measure -> its title, by how much it is multiplied, and decimals."""

LEGEND = (
    "0 is best of KID (± of subsets), FID, grey values (earth mover's distance), spectrum, equivariance, identity and "
    "cycle; 1 of structure (correlation of gradients with the image before) and polarity (of grey values). "
    "`same style` compares two random halves of the wanted side; but for KID, half as many images give larger figures. "
    "Nothing here says that findings are kept."
)


def style_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of a table in Markdown.

    Args:
        rows: of one view and direction, as `engines.StyleEvaluator` gives them.
    """
    found = [key for key in MEASURES if any(key in row for row in rows)]
    lines = ["| translator | " + " | ".join(MEASURES[key][0] for key in found) + " |", "|---" * (len(found) + 1) + "|"]
    for row in rows:
        cells = (f"{row[k] * MEASURES[k][1]:.{MEASURES[k][2]}f}" if k in row else "" for k in found)
        lines.append(f"| {row['method']} | " + " | ".join(cells) + " |")
    return lines


class StyleReport:
    """Write what a `StyleEvaluator` measured: `style.csv`, `style.md`, and a picture for each view and direction.

    Files of an earlier run are renamed.

    Args:
        output_dir: where to.
        compared: what was compared and how, for the page: name -> value.
    """

    def __init__(self, output_dir: str | os.PathLike[str], compared: Mapping[str, Any] | None = None) -> None:
        self.output_dir = Path(output_dir)
        self.compared = dict(compared or {})

    def __call__(self, results: Mapping[str, Any]) -> str:
        """Write the files.

        Args:
            results: view -> `engines.StyleOfView`.

        Returns:
            The page.
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
            for direction, title in DIRECTIONS.items():
                rows = [row for row in result.rows if row["direction"] == direction]
                picture = self.output_dir / f"{view}_{direction}.png"
                set_aside(picture)
                save_figure(grid_figure(result.pictures[direction], f"{view}: {title}", view), picture)
                page += ["", f"## {view}: {title}", "", *style_table(rows), "", f"![Pictures]({picture.name})"]
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
    """Images beside each other: a row for each image, a column for each name.

    Args:
        pictures: name -> (images, rows, columns) in [0, 1].
        title: of the figure.
        view: of all images.
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


class TranslationPanels:
    """Handler of a trainer of translators: the same films after every epoch, and the last radiograph of a CT.

    `translations.png` holds the last panel, TensorBoard all of them; not more often than every half minute, and at the
    end.

    Args:
        output_dir: where to; files of an earlier run are renamed.
        films: items with `image` (1, rows, columns) and `view`; the first two of each view are shown.
        network: translator from films, with `translate`.
        reverse: translator to films, if there is one.
        write: whether this process draws; of several, one does.
    """

    A_VIEW = 2

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        films: Sequence[Mapping[str, Any]],
        network: nn.Module,
        reverse: nn.Module | None = None,
        write: bool = True,
    ) -> None:
        self.path = Path(output_dir) / "translations.png"
        self.log_dir = str(Path(output_dir) / "tensorboard")
        views = dict.fromkeys(film["view"] for film in films)
        chosen = [[film for film in films if film["view"] == view][: self.A_VIEW] for view in views]
        self.views = [film["view"] for of_view in chosen for film in of_view]
        images = [torch.as_tensor(film[Keys.IMAGE]) for of_view in chosen for film in of_view]
        self.films = torch.stack([image.as_subclass(torch.Tensor).float() for image in images])
        self.network = network
        self.reverse = reverse
        self.write = write
        self.drawn = 0.0
        self.writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        if self.write:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._now_and_then)
            engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        if engine.state.epoch == 0:
            set_aside(self.path)
        self.drawn = time.monotonic()

    def _now_and_then(self, engine: Engine) -> None:
        if time.monotonic() - self.drawn > SECONDS_BETWEEN_DRAWINGS:
            self._draw(engine)

    def _draw(self, engine: Engine) -> None:
        figure = self._figure(engine)
        save_figure(figure, self.path)
        if self.writer is None:
            self.writer = SummaryWriter(self.log_dir)
        self.writer.add_figure("translations", figure, engine.state.epoch)
        self.writer.flush()
        self.drawn = time.monotonic()

    @torch.no_grad()
    def _figure(self, engine: Any) -> Figure:
        films = self.films.to(engine.state.device)
        translated = _translate(self.network, films)
        columns = {"film": films, "as of a CT": translated}
        if self.reverse is not None:
            columns["and back"] = _translate(self.reverse, translated)
        count = len(films) + (self.reverse is not None)
        figure = Figure(figsize=(2.3 * len(columns), 2.5 * count + 0.4), layout="constrained")
        figure.suptitle(f"epoch {engine.state.epoch}", fontsize=10)
        places = figure.subplots(count, len(columns), squeeze=False)
        for column, (name, images) in zip(places.T, columns.items(), strict=True):
            for axes, image, view in zip(column, images[:, 0].cpu().numpy(), self.views, strict=False):
                draw_picture(axes, image, f"{name}, {view}", VIEW_LETTERS[View(view)], cmap="gray", vmin=0, vmax=1)
        if self.reverse is not None:
            last = {"radiograph of a CT": "drr", "as a film": "fake_real"}
            for axes, (name, key) in zip(places[-1], last.items(), strict=False):
                image = engine.state.output[key][0, 0].float().cpu().numpy() / 2 + 0.5
                draw_picture(axes, image, name, ("", "", "", ""), cmap="gray", vmin=0, vmax=1)
            places[-1, -1].set_axis_off()
        return figure


def _translate(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Without leaving the mode that the training wants."""
    training = network.training
    translated: torch.Tensor = network.eval().translate(images)  # type: ignore[operator]
    network.train(training)
    return translated.clip(0, 1)
