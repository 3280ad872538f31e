"""Read the record of an evaluation, of which its tables and pages are views."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conventions import InputError
from metrics import Interval, bootstrap_interval

SCHEMA = "x2ct-evaluation 1"
"""Name and version of the form of `evaluation.json`."""

PREDICTION = "prediction"
"""Name of the network's own figures, next to those of the controls."""


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationRecord:
    """An evaluation: a value for each case, prediction and measure."""

    folder: Path
    """The `output_dir` of the evaluation."""
    cases: Sequence[str]
    """Names of the cases."""
    patients: Sequence[str]
    """Key of the patient of each case, which does not name him."""
    measures: Mapping[str, Mapping[str, Any]]
    """Name of a measure -> what it is, as `metrics.Measure.record` returns it."""
    columns: Mapping[tuple[str, str], Sequence[float]]
    """(measure, prediction) -> value of each case, NaN where it could not be measured."""
    model: Mapping[str, Any]
    """What made the predictions, as `networks.describe_model` returns it."""

    @property
    def compared(self) -> list[str]:
        """Names of the predictions that were measured, the network's own first."""
        return list(dict.fromkeys(name for _, name in self.columns))

    def of_protocol(self, protocol: str) -> list[str]:
        """Return the names of the measures of a protocol."""
        return [name for name, what in self.measures.items() if what["protocol"] == protocol]

    def has(self, measure: str, *compared: str) -> bool:
        """Return whether a measure was taken of the network's and of the given predictions."""
        return all((measure, name) in self.columns for name in (PREDICTION, *compared))

    def badness(self, measure: str, compared: str = PREDICTION) -> list[float]:
        """Return how far each case is off: the size of a signed error, and any other measure as it is."""
        values = self.columns[measure, compared]
        return [abs(value) for value in values] if self.measures[measure]["better"] == "zero" else list(values)


def read_evaluation(folder: str | os.PathLike[str]) -> EvaluationRecord:
    """Read the `evaluation.json` of an evaluation.

    Args:
        folder: the `output_dir` of the evaluation.

    Raises:
        InputError: where there is none, or it is damaged, of another form or without cases.
    """
    path = Path(folder) / "evaluation.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: holds no evaluation.json; give the output_dir of evaluating") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run evaluating again") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise InputError(f"{path}: is not of the form {SCHEMA!r}; run evaluating again")
    try:
        cases = [case["case"] for case in content["cases"]]
        place = {case: number for number, case in enumerate(cases)}
        columns: dict[tuple[str, str], list[float]] = {}
        for row in content["values"]:
            column = columns.setdefault((row["measure"], row["compared"]), [math.nan] * len(cases))
            column[place[row["case"]]] = math.nan if row["value"] is None else float(row["value"])
        record = EvaluationRecord(
            folder=Path(folder),
            cases=cases,
            patients=[case["patient"] for case in content["cases"]],
            measures=content["measures"],
            columns={key: values for key, values in columns.items() if key[0] in content["measures"]},
            model=content["model"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is damaged ({error!r}); run evaluating again") from error
    if not record.columns:
        raise InputError(f"{path}: holds no figure of any case; evaluate a fold that has cases")
    return record


def interval_or_none(values: Sequence[float], patients: Sequence[str]) -> Interval | None:
    """Compute the interval of a mean; None where fewer than two patients were measured, who say nothing of others.

    Args:
        values: one for each case; those that are not finite are left out.
        patients: patient of each case.
    """
    try:
        return bootstrap_interval(values, patients)
    except InputError:
        return None
