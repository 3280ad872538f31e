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
from metrics import MEASURES, bootstrap_interval
from reports import PREDICTION, SCHEMA, summary_table
from storage import key_of, set_aside, write_atomically, write_json

logger = logging.getLogger("x2ct.evaluation")


class EvaluationSummary:
    """Handler that writes `evaluation.json`, `summary.json` and `cases.csv` from the metrics of an evaluator.

    `summary.json` holds `psnr_db`, `ssim` and so on, each for `prediction` and everything else that was measured (the
    metric `psnr_db/mean_volume` goes to `psnr_db`, `mean_volume`), averaged over all cases to six digits, and the list
    of cases. `cases.csv` holds one row for each case. Where volumes were updated to agree with their films,
    `consistency` holds the mean over the cases of the root mean square difference of line integrals, before and after,
    and the number of cases that left a doubt. `intervals` holds, for each measure and prediction, the ends of the 95 %
    interval of its mean, found by resampling patients; where fewer than two patients were measured there is none. A
    figure that could not be measured in any case is null; the PSNR of a prediction that equals the truth is "inf".

    `evaluation.json` is the record of which both are views: `schema`, "x2ct-evaluation 1"; `model`, as given;
    `measures`, what each figure is, as `metrics.Measure.record` returns it (protocol, version, unit, region,
    data_range, better); `cases`, each with the key of its patient, which does not name him; and `values`, one row for
    each case, prediction (`compared`) and measure, null where it could not be measured.

    At the end, the table of the figures and the locations of all files are logged (`reports.summary_table`). With
    several processes, the first one writes.

    Args:
        output_dir: folder of the files; files of an earlier run are renamed.
        record: description of the model and its data, copied into the summary.
    """

    def __init__(self, output_dir: str | os.PathLike[str], record: Mapping[str, Any] | None = None) -> None:
        self.output_dir = Path(output_dir)
        self.record = record
        self.cases: list[str] = []
        self.patients: list[str] = []
        self.agreements: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)
        engine.add_event_handler(Events.COMPLETED, self._say)

    def _start(self, engine: Engine) -> None:
        self.cases, self.patients, self.agreements = [], [], []

    def _collect(self, engine: Engine) -> None:
        self.cases += [str(item[Keys.CASE]) for item in engine.state.batch]
        self.patients += [key_of(str(item.get(Keys.PATIENT, item[Keys.CASE]))) for item in engine.state.batch]
        self.agreements += [item.get(Keys.CONSISTENCY, "") for item in engine.state.output]

    def _write(self, engine: Engine) -> None:
        # MONAI has gathered the metrics of all processes in this order; a case that several processes had counts once.
        agreement_of = dict(
            zip(string_list_all_gather(self.cases), string_list_all_gather(self.agreements), strict=True)
        )
        patient_of = dict(zip(string_list_all_gather(self.cases), string_list_all_gather(self.patients), strict=True))
        cases = list(agreement_of)
        if idist.get_rank() > 0:
            return
        summary: dict[str, Any] = {}
        columns: dict[str, list[float]] = {}
        for metric, value in engine.state.metrics.items():
            name, _, key = metric.partition("/")
            summary.setdefault(name, {})[key or PREDICTION] = _rounded(float(value))
            details = engine.state.metric_details[metric].flatten().tolist()
            columns[metric if key else f"{name}/{PREDICTION}"] = details[: len(cases)]
        if all(agreement_of.values()):
            summary["consistency"] = _agreement(list(agreement_of.values()), columns)
        summary["held_out_cases"] = cases
        summary["model"] = dict(self.record or {})

        summary["intervals"] = _intervals(columns, [patient_of[case] for case in cases])

        set_aside(*(self.output_dir / name for name in ("summary.json", "cases.csv", "evaluation.json")))
        record = _record(patient_of, columns, summary)
        write_json(self.output_dir / "evaluation.json", record)
        write_atomically(self.output_dir / "cases.csv", lambda part: _write_table(part, cases, columns))
        write_json(self.output_dir / "summary.json", summary)

    def _say(self, engine: Engine) -> None:
        if idist.get_rank() == 0:
            logger.info("evaluated\n\n%s\n", summary_table(self.output_dir))


def _rounded(value: float) -> float | str | None:
    """Return six digits of a number; as text where it is infinite and None where it is none, which JSON cannot hold."""
    if math.isnan(value):
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)


def _intervals(columns: Mapping[str, list[float]], patients: list[str]) -> dict[str, dict[str, list[float]]]:
    """Compute the interval of each mean over patients; none where fewer than two patients were measured."""
    found: dict[str, dict[str, list[float]]] = {}
    for column, values in columns.items():
        measured = {patient for patient, value in zip(patients, values, strict=True) if math.isfinite(value)}
        if len(measured) > 1:
            interval = bootstrap_interval(values, patients)
            name, _, key = column.partition("/")
            found.setdefault(name, {})[key] = [float(f"{end:.6g}") for end in (interval.low, interval.high)]
    return found


def _record(
    patient_of: Mapping[str, str], columns: Mapping[str, list[float]], summary: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the whole evaluation as one table of case and measure; see `EvaluationSummary`."""
    values = []
    for column, of_cases in columns.items():
        name, _, compared = column.partition("/")
        values += [
            {"case": case, "compared": compared, "measure": name, "value": _rounded(value)}
            for case, value in zip(patient_of, of_cases, strict=True)
        ]
    names = dict.fromkeys(column.partition("/")[0] for column in columns)
    return {
        "schema": SCHEMA,
        "model": summary["model"],
        "measures": {name: MEASURES[name].record() for name in names if name in MEASURES},
        "cases": [{"case": case, "patient": patient} for case, patient in patient_of.items()],
        "values": values,
    }


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
