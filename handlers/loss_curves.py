"""Keep and draw the losses of a training run."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events

from reports import draw_losses
from storage import set_aside, write_atomically

SECONDS_BETWEEN_DRAWINGS = 30.0
"""Shortest time between two drawings: one takes a second, longer than most of a short epoch."""


class LossCurves:
    """Handler of a trainer that keeps its loss terms.

    It writes `losses.csv` after each epoch, and `losses.png` every half minute and at the end.

    Args:
        output_dir: folder of the files; files of an earlier run are renamed.
        terms: names in `state.output`.
        validator: evaluator whose key metric is drawn too.
    """

    def __init__(self, output_dir: str | os.PathLike[str], terms: Sequence[str], validator: Any = None) -> None:
        self.output_dir = Path(output_dir)
        self.terms = tuple(terms)
        self.validator = validator
        self.sums: dict[str, list[float]] = {}
        self.losses: dict[str, list[float]] = {}
        self.validation: dict[int, float] = {}
        self.drawn = 0.0

    def attach(self, engine: Engine) -> None:
        """Register with the trainer; after the validation handler, whose result of the epoch is drawn."""
        if idist.get_rank() == 0:
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
        """Return the curves so far."""
        return {"losses": self.losses, "validation": self.validation}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the curves of a run that is resumed."""
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
