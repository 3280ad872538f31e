"""Handlers that draw while an engine runs."""

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
from torch.utils.tensorboard import SummaryWriter

from conventions import Keys, View, set_aside, write_atomically
from export import write_png16

from .figures import case_figure, draw_case, draw_losses

SECONDS_BETWEEN_DRAWINGS = 30.0
"""Drawing takes a second, which short epochs would spend most of their time on."""


def _array(tensor: torch.Tensor) -> np.ndarray:
    return torch.as_tensor(tensor).detach().cpu().float().numpy()


class CaseFigures:
    """Draw each case of an evaluator, and keep its radiographs as 16-bit PNG files that can be read back.

    `<case>.png` shows the radiographs and three planes of truth, prediction and difference. Volumes are expected in HU,
    so the evaluator's postprocessing has run. Files of an earlier run are renamed.

    Args:
        output_dir: folder of the figures.
        name: of a case that has none.
        radiographs_dir: folder for the radiographs alone, `<case>_pa.png` and `<case>_lateral.png`; None keeps none.
        radiographs_record: what made them (geometry, curve, film), which the files will say.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        name: str = "synthetic_ct",
        radiographs_dir: str | os.PathLike[str] | None = None,
        radiographs_record: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.name = name
        self.radiographs_record = dict(radiographs_record or {})
        self.radiographs_dir = None if radiographs_dir is None else Path(radiographs_dir)

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of one decollated batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            case = str(item.get(Keys.CASE, self.name))
            image = _array(output[Keys.IMAGE])
            truth = _array(output[Keys.LABEL])[0] if Keys.LABEL in output else None
            path = self.output_dir / f"{case}.png"
            set_aside(path)
            draw_case(path, image, _array(output[Keys.PRED])[0], truth, f"{case}: synthetic CT from radiographs")
            if self.radiographs_dir is not None:
                for view, pixels in zip(View, image, strict=False):
                    said = {**self.radiographs_record, "view": str(view)}
                    write_png16(self.radiographs_dir / f"{case}_{view}.png", pixels, said)


class LossCurves:
    """Keep the loss terms of a trainer: `losses.csv` after each epoch, `losses.png` every half minute and at the end.

    Args:
        output_dir: folder to write to; files of an earlier run are renamed.
        terms: names in `state.output`.
        validator: evaluator whose key metric is drawn too.
        write: whether this process draws its losses; of several, one does.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], terms: Sequence[str], validator: Any = None, write: bool = True
    ) -> None:
        self.output_dir = Path(output_dir)
        self.terms = tuple(terms)
        self.validator = validator
        self.write = write
        self.sums: dict[str, list[float]] = {}
        self.losses: dict[str, list[float]] = {}
        self.validation: dict[int, float] = {}
        self.drawn = 0.0

    def attach(self, engine: Engine) -> None:
        """Register with an engine; after the validation handler, whose result of the epoch is drawn."""
        if self.write:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)
            engine.add_event_handler(Events.COMPLETED, self._draw)

    def _start(self, engine: Engine) -> None:
        self.sums = {}
        self.drawn = time.monotonic()
        if engine.state.epoch == 0:  # neither resumed nor another round of federated training
            self.losses, self.validation = {}, {}
            set_aside(self.output_dir / "losses.csv", self.output_dir / "losses.png")

    def state_dict(self) -> dict[str, Any]:
        """The curves so far."""
        return {"losses": self.losses, "validation": self.validation}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with curves."""
        self.losses, self.validation = dict(state["losses"]), dict(state["validation"])

    def _collect(self, engine: Engine) -> None:
        output = engine.state.output
        first = output[0] if isinstance(output, list) else output
        for term in self.terms:
            if term in first:
                self.sums.setdefault(term, []).append(float(first[term]))

    def _write(self, engine: Engine) -> None:
        for term, values in self.sums.items():
            self.losses.setdefault(term, []).append(float(np.mean(values)))
        self.sums = {}
        if self.validator is not None and self.validator.state.epoch == engine.state.epoch:
            self.validation[engine.state.epoch] = float(self.validator.state.metrics[self._metric()])
        write_atomically(self.output_dir / "losses.csv", self._write_table)
        if time.monotonic() - self.drawn > SECONDS_BETWEEN_DRAWINGS:
            self._draw(engine)

    def _draw(self, engine: Engine) -> None:
        draw_losses(self.output_dir / "losses.png", self.losses, self.validation, self._metric())
        self.drawn = time.monotonic()

    def _metric(self) -> str:
        return str(self.validator.state.key_metric_name) if self.validator is not None else "none"

    def _write_table(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["epoch", *self.losses, "validation"])
            for epoch, values in enumerate(zip(*self.losses.values(), strict=True), start=1):
                table.writerow([epoch, *values, self.validation.get(epoch, "")])


class TensorBoardCases:
    """Show the first cases of every validation in TensorBoard: radiographs, truth, prediction and difference.

    Handler of the validating engine, whose postprocessing gives HU.

    Args:
        log_dir: of TensorBoard.
        cases: how many.
    """

    def __init__(self, log_dir: str | os.PathLike[str], cases: int = 1) -> None:
        self.log_dir = str(log_dir)
        self.cases = cases
        self.writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of one decollated batch, if they are among the first."""
        first = (engine.state.iteration - 1) % (engine.state.epoch_length or 1) * len(engine.state.output)
        for number, (item, output) in enumerate(zip(engine.state.batch, engine.state.output, strict=True), start=first):
            if number >= self.cases:
                return
            if self.writer is None:
                self.writer = SummaryWriter(self.log_dir)
            case = str(item.get(Keys.CASE, number))
            figure = case_figure(
                _array(output[Keys.IMAGE]), _array(output[Keys.PRED])[0], _array(output[Keys.LABEL])[0], case
            )
            self.writer.add_figure(f"validation/{number}", figure, engine.state.epoch)
            self.writer.flush()
