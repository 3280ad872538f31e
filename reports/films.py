"""What a network was shown beside the films it was made of, and what was assumed and doubted."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from conventions import Keys, View, set_aside, write_atomically
from export import write_png16

from .figures import PLANES, VIEW_LETTERS, draw_picture, grey_of_hu, save_figure

SOME_FAILED = 3
"""Exit code of a run in which some cases could not be read."""

LONGEST_SIDE = 600
"""Of a film in a figure, in pixels."""


def film_figure(films: Any, image: np.ndarray, prediction_hu: np.ndarray | None = None, title: str = "") -> Figure:
    """Films with the model's field and the lungs drawn in, what the network was shown, and planes of its answer.

    Args:
        films: one a view, with `view`, `pixels`, `lungs` and `frame` as `transforms.Placed` has them.
        image: what the network was shown (views, rows, columns) in [0, 1].
        prediction_hu: predicted volume (D, H, W) in HU; None leaves the planes out.
        title: of the figure.
    """
    rows, columns = (2, len(films)) if prediction_hu is None else (3, len(PLANES))
    figure = Figure(figsize=(4.2 * columns, 4.3 * rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    places = figure.subplots(rows, columns, squeeze=False)
    for axes in places.ravel():
        axes.set_axis_off()
    for column, (film, shown) in enumerate(zip(films, image, strict=True)):
        letters = VIEW_LETTERS[View(film.view)]
        step = max(1, -(-max(film.pixels.shape) // LONGEST_SIDE))
        axes = places[0, column]
        draw_picture(axes, film.pixels[::step, ::step], f"film, {film.view}", letters, cmap="gray", vmin=0, vmax=1)
        _frame(axes, film.frame, step, "cyan", "what the model sees")
        if film.lungs is not None:
            box = film.lungs
            _frame(axes, (box.top, box.bottom, box.left, box.right), step, "yellow", f"lungs ({box.score:.2f})")
        rows_shown, columns_shown = axes.images[0].get_array().shape
        edges = np.array(film.frame) / step
        axes.set_xlim(min(0, edges[2]) - 5, max(columns_shown, edges[3]) + 5)
        axes.set_ylim(max(rows_shown, edges[1]) + 5, min(0, edges[0]) - 5)
        axes.legend(loc="lower left", fontsize=6)
        name = f"shown to the network, {film.view}"
        draw_picture(places[1, column], shown, name, letters, cmap="gray", vmin=0, vmax=1)
    if prediction_hu is not None:
        for axes, (plane, (axis, letters)) in zip(places[2], PLANES.items(), strict=True):
            pixels = prediction_hu.take(prediction_hu.shape[axis] // 2, axis=axis)
            draw_picture(axes, pixels, f"synthetic CT, {plane}", letters, **grey_of_hu())
    return figure


def _frame(axes: Any, edges: tuple[float, ...], step: int, colour: str, label: str) -> None:
    top, bottom, left, right = (edge / step - 0.5 for edge in edges)
    axes.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1, label=label)
    )


class FilmReport:
    """Handler of an evaluator that tells how films were read, case by case, and at the end what could not be read.

    Writes `<case>.png` (see `film_figure`), prints the decisions of a single case or, of many, their doubts, and writes
    `cases.csv` of many. Volumes are expected in HU, so the evaluator's postprocessing has run.

    Args:
        output_dir: folder of the figures and the table; files of an earlier run are renamed.
        dataset: a `cohort.TolerantDataset`.
        explain: whether to draw the films alone too, larger, as `<case>_films.png`.
        keep_shown: whether to keep what the network was shown, `<case>_<view>_shown.png`, 16 bit.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], dataset: Any, explain: bool = False, keep_shown: bool = False
    ) -> None:
        self.keep_shown = keep_shown
        self.output_dir = Path(output_dir)
        self.dataset = dataset
        self.explain = explain

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write_table)

    def __call__(self, engine: Engine) -> None:
        """Draw and tell the cases of one decollated batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            case = str(item[Keys.CASE])
            films = self.dataset.films[case]
            image, volume = (torch.as_tensor(output[key]).cpu().float().numpy() for key in (Keys.IMAGE, Keys.PRED))
            self._draw(f"{case}.png", film_figure(films, image, volume[0], f"{case}: synthetic CT from radiographs"))
            if self.explain:
                self._draw(f"{case}_films.png", film_figure(films, image, None, case))
            if self.keep_shown:
                for film, plane in zip(films, image, strict=True):
                    write_png16(self.output_dir / f"{case}_{film.view}_shown.png", plane, computed=False)
            print("\n".join(self._said(case, films)))

    def finish(self) -> None:
        """End the program with `SOME_FAILED` where a case could not be read; for the last step of a run."""
        if self.dataset.problems:
            raise SystemExit(SOME_FAILED)

    def _draw(self, name: str, figure: Figure) -> None:
        set_aside(self.output_dir / name)
        save_figure(figure, self.output_dir / name)

    def _said(self, case: str, films: Any) -> list[str]:
        """Of one case all decisions, of many the doubts."""
        many = len(self.dataset.data) > 1
        lines = []
        for film in films:
            told = [line for line in film.record.lines() if not many or line.startswith("doubt")]
            lines += [f"{case}, {film.view}: {line}" for line in told]
        return lines or [f"{case}: nothing doubtful"]

    def _write_table(self, engine: Engine) -> None:
        if len(self.dataset.data) < 2:
            return
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["case", "result", "doubts", "problem"])
        for item in self.dataset.data:
            case = str(item[Keys.CASE])
            films = self.dataset.films.get(case, [])
            doubts = "; ".join(f"{film.view}: {doubt.subject}" for film in films for doubt in film.record.doubts)
            result = f"{case}.nii.gz" if case in self.dataset.films else ""
            table.writerow([case, result, doubts, self.dataset.problems.get(case, "")])
        path = self.output_dir / "cases.csv"
        set_aside(path)
        write_atomically(path, lambda part: part.write_text(text.getvalue(), encoding="utf-8"))
        done, failed = len(self.dataset.films), len(self.dataset.problems)
        print(f"{done} of {done + failed} cases done, {failed} could not be read; see {path}")
