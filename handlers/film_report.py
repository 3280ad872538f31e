"""Report how films were read: what the network was shown, what was assumed and what is doubtful."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from matplotlib.figure import Figure

from conventions import Keys
from export import write_png16
from readers import unpack_films
from reports import film_figure, save_figure
from storage import set_aside, write_atomically

from .case_figures import draw_agreement_of, expected_error_of

SOME_FAILED = 3
"""Exit code of a run in which some cases could not be read."""


class FilmReport:
    """Handler of an evaluator that reports how films were read, case by case, then those that could not be read.

    It draws `<case>.png` with `film_figure` and, where the CT was updated to agree with its films,
    `<case>_agreement.png`. It prints all decisions of a single case or, where there are several
    cases, their doubts, and writes `cases.csv`. Volumes are expected in HU, so the evaluator's postprocessing has run.

    Args:
        output_dir: folder of the figures and the table; files of an earlier run are renamed.
        loader: a `cohort.TolerantLoader`.
        explain: whether to draw the films alone too, larger, as `<case>_films.png`.
        keep_shown: whether to keep what the network was shown, `<case>_<view>_shown.png`, 16 bit.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], loader: Any, explain: bool = False, keep_shown: bool = False
    ) -> None:
        self.keep_shown = keep_shown
        self.output_dir = Path(output_dir)
        self.loader = loader
        self.doubts: dict[str, str] = {}
        self.explain = explain

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.STARTED, lambda _: self.doubts.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write_table)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of one decollated batch and print how their films were read."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            case = str(item[Keys.CASE])
            films = unpack_films(item)
            self.doubts[case] = "; ".join(f"{f.view}: {doubt.subject}" for f in films for doubt in f.record.doubts)
            image, volume = (torch.as_tensor(output[key]).cpu().float().numpy() for key in (Keys.IMAGE, Keys.PRED))
            title = f"{case}: synthetic CT from radiographs"
            self._draw(f"{case}.png", film_figure(films, image, volume[0], title, expected_error_of(output)))
            draw_agreement_of(self.output_dir, case, item, output)
            if self.explain:
                self._draw(f"{case}_films.png", film_figure(films, image, None, case))
            if self.keep_shown:
                for film, plane in zip(films, image, strict=True):
                    write_png16(self.output_dir / f"{case}_{film.view}_shown.png", plane, computed=False)
            print("\n".join(self._said(case, films)))

    def finish(self) -> None:
        """End the program with `SOME_FAILED` if a case could not be read; for the last step of a run."""
        if self.loader.problems:
            raise SystemExit(SOME_FAILED)

    def _draw(self, name: str, figure: Figure) -> None:
        set_aside(self.output_dir / name)
        save_figure(figure, self.output_dir / name)

    def _said(self, case: str, films: Any) -> list[str]:
        """Return all decisions about a single case, and the doubts about one of several."""
        several = len(self.loader.dataset.data) > 1
        lines = []
        for film in films:
            chosen = [line for line in film.record.lines() if not several or line.startswith("doubt")]
            lines += [f"{case}, {film.view}: {line}" for line in chosen]
        return lines or [f"{case}: nothing doubtful"]

    def _write_table(self, engine: Engine) -> None:
        if len(self.loader.dataset.data) < 2:
            return
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["case", "result", "doubts", "problem"])
        for item in self.loader.dataset.data:
            case = str(item[Keys.CASE])
            result = f"{case}.nii.gz" if case in self.doubts else ""
            table.writerow([case, result, self.doubts.get(case, ""), self.loader.problems.get(case, "")])
        path = self.output_dir / "cases.csv"
        set_aside(path)
        write_atomically(path, lambda part: part.write_text(text.getvalue(), encoding="utf-8"))
        done, failed = len(self.doubts), len(self.loader.problems)
        print(f"{done} of {done + failed} cases done, {failed} could not be read; see {path}")
