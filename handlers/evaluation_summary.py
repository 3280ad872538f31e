"""Write the figures of an evaluation to files."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.utils import string_list_all_gather

from conventions import Keys
from reports import summary_table
from storage import set_aside, write_atomically, write_json

logger = logging.getLogger("x2ct.evaluation")

PREDICTION = "prediction"
"""Name of the network's own figures, next to those of the controls."""


class EvaluationSummary:
    """Handler that writes `summary.json` and `cases.csv` from the metrics of an evaluator.

    `summary.json` holds `psnr_db`, `ssim` and so on, each for `prediction` and everything else that was measured (the
    metric `psnr_db/mean_volume` goes to `psnr_db`, `mean_volume`), averaged over all cases to six digits, and the list
    of cases. `cases.csv` holds one row for each case. Where volumes were updated to agree with their films,
    `consistency` holds the mean over the cases of the root mean square difference of line integrals, before and after,
    and the number of cases that left a doubt. At the end, the table of the figures and the locations of all files are
    logged (`reports.summary_table`). With several processes, the first one writes.

    Args:
        output_dir: folder of the files; files of an earlier run are renamed.
        record: description of the model and its data, copied into the summary.
    """

    def __init__(self, output_dir: str | os.PathLike[str], record: Mapping[str, Any] | None = None) -> None:
        self.output_dir = Path(output_dir)
        self.record = record
        self.cases: list[str] = []
        self.agreements: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)
        engine.add_event_handler(Events.COMPLETED, self._say)

    def _start(self, engine: Engine) -> None:
        self.cases, self.agreements = [], []

    def _collect(self, engine: Engine) -> None:
        self.cases += [str(item[Keys.CASE]) for item in engine.state.batch]
        self.agreements += [item.get(Keys.CONSISTENCY, "") for item in engine.state.output]

    def _write(self, engine: Engine) -> None:
        # MONAI has gathered the metrics of all processes in this order; a case that several processes had counts once.
        agreement_of = dict(
            zip(string_list_all_gather(self.cases), string_list_all_gather(self.agreements), strict=True)
        )
        cases = list(agreement_of)
        if idist.get_rank() > 0:
            return
        summary: dict[str, Any] = {}
        columns: dict[str, list[float]] = {}
        for metric, value in engine.state.metrics.items():
            name, _, key = metric.partition("/")
            summary.setdefault(name, {})[key or PREDICTION] = float(f"{float(value):.6g}")
            details = engine.state.metric_details[metric].flatten().tolist()
            columns[metric if key else f"{name}/{PREDICTION}"] = details[: len(cases)]
        if all(agreement_of.values()):
            summary["consistency"] = _agreement(list(agreement_of.values()), columns)
        summary["held_out_cases"] = cases
        summary["model"] = dict(self.record or {})

        set_aside(self.output_dir / "summary.json", self.output_dir / "cases.csv")
        write_atomically(self.output_dir / "cases.csv", lambda part: _write_table(part, cases, columns))
        write_json(self.output_dir / "summary.json", summary)

    def _say(self, engine: Engine) -> None:
        if idist.get_rank() == 0:
            logger.info("evaluated\n\n%s\n", summary_table(self.output_dir))


def _agreement(texts: list[str], columns: dict[str, list[float]]) -> dict[str, Any]:
    """Add columns with the differences between films and volumes, and return what the summary says of them."""
    records = [json.loads(text) for text in texts]
    for when in ("before", "after"):
        differences = [math.sqrt(fmean(value**2 for value in record[when])) for record in records]
        columns[f"film_difference/{when}"] = differences
    return {
        "tone": records[0]["tone"],
        "damping": records[0]["damping"],
        "film_difference_before": float(f"{fmean(columns['film_difference/before']):.6g}"),
        "film_difference_after": float(f"{fmean(columns['film_difference/after']):.6g}"),
        "doubted_cases": sum(any(record["doubts"]) for record in records),
    }


def _write_table(path: Path, cases: list[str], columns: Mapping[str, list[float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow([Keys.CASE, *columns])
        table.writerows(zip(cases, *columns.values(), strict=True))
