"""Compare two evaluations of the same cases on one page, by paired differences."""

from __future__ import annotations

import html
import os
from pathlib import Path

from conventions import SYNTHETIC_STATEMENT, VERSION, InputError
from storage import set_aside, write_atomically

from .definitions import definitions, protocols, title_of
from .evaluation_page import number, with_interval
from .evaluation_record import PREDICTION, EvaluationRecord, interval_or_none, read_evaluation
from .page import asset, document, model_words, notice, table

WORDS = (
    "First less second on the same cases, with 95 % intervals by resampling patients; of signed errors, the difference "
    "of their size. Where the interval holds 0, the better one is open. Of twenty measures of equal models, one "
    "interval lies beside 0 by chance."
)
"""What the page says about its differences."""


def write_comparison_page(
    first: str | os.PathLike[str], second: str | os.PathLike[str], path: str | os.PathLike[str]
) -> Path:
    """Write the page that compares two evaluations, in one file that needs no network.

    Args:
        first: the `output_dir` of one evaluation.
        second: that of the other, of the same cases.
        path: HTML file to write; a file of an earlier run is renamed.

    Returns:
        The page.

    Raises:
        InputError: where a folder holds no record of an evaluation, or they are of different cases, patients or
            definitions of a measure.
    """
    records = (read_evaluation(first), read_evaluation(second))
    _check_same(*records)
    parts = [
        _header(*records),
        *(_protocol(*records, protocol) for protocol in protocols(records[0].measures)),
        definitions(records[0]),
        f"<script>\n{asset('sort.js')}</script>\n",
    ]
    text = document("Comparison of two evaluations", "".join(parts))
    set_aside(path)
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def _check_same(first: EvaluationRecord, second: EvaluationRecord) -> None:
    of_first, of_second = (dict(zip(record.cases, record.patients, strict=True)) for record in (first, second))
    if of_first.keys() != of_second.keys():
        apart = sorted(of_first.keys() ^ of_second.keys())
        raise InputError(
            f"{second.folder}: was evaluated on other cases than {first.folder} ({len(apart)} are in one alone, "
            f"{apart[0]!r} among them); evaluate both on the same ones"
        )
    if of_first != of_second:
        raise InputError(f"{second.folder}: assigns cases to other patients than {first.folder}; use one manifest")
    for name in first.measures:
        if name in second.measures and first.measures[name] != second.measures[name]:
            raise InputError(
                f"{second.folder}: defines {name} in another way than {first.folder} (protocol, version or range); "
                "evaluate both with the same version and hu_window"
            )
    if not any(second.has(name) for name in first.measures if first.has(name)):
        raise InputError(f"{second.folder}: has no measure in common with {first.folder}; evaluate both again")


def _names(first: EvaluationRecord, second: EvaluationRecord) -> tuple[str, str]:
    """Return the names of the folders, with as much of their paths as tells them apart."""
    paths = [record.folder.resolve().parts for record in (first, second)]
    length = next((n for n in range(1, max(map(len, paths)) + 1) if paths[0][-n:] != paths[1][-n:]), 1)
    one, other = ("/".join(parts[-length:]) for parts in paths)
    return one, other


def _header(first: EvaluationRecord, second: EvaluationRecord) -> str:
    patients = len(set(first.patients))
    lines = [
        f"{title}: {name}; {'; '.join(model_words(record.model))}"
        for title, name, record in zip(("first", "second"), _names(first, second), (first, second), strict=True)
    ]
    lines.append(f"{len(first.cases)} cases of {patients} patients; x2ct-bundle {VERSION}")
    if patients < 2:
        lines.append("With one patient there are no intervals: nothing here says which model is better.")
    said = "".join(f'<p class="quiet">{html.escape(line)}</p>\n' for line in lines)
    head = f"<header>\n{notice(SYNTHETIC_STATEMENT)}\n<h1>Comparison of two evaluations</h1>\n{said}</header>\n"
    return f"{head}<p>{html.escape(WORDS)}</p>\n"


def _protocol(first: EvaluationRecord, second: EvaluationRecord, protocol: str) -> str:
    names = [name for name in first.of_protocol(protocol) if first.has(name) and second.has(name)]
    if not names:
        return ""
    place = {case: number for number, case in enumerate(second.cases)}
    rows, differences = [], []
    for name in names:
        unit, one = first.measures[name]["unit"], first.badness(name)
        again = second.badness(name)
        other = [again[place[case]] for case in first.cases]
        less = [a - b for a, b in zip(one, other, strict=True)]
        differences.append([number(value, unit, "+") for value in less])
        rows.append(
            [
                name if unit == "1" else f"{name}, {unit}",
                with_interval(first.columns[name, PREDICTION], first.patients, unit),
                with_interval(second.columns[name, PREDICTION], second.patients, unit),
                with_interval(less, first.patients, unit, "+"),
                _better(less, first, name),
            ]
        )
    made = table(["measure", "first", "second", "first less second", "better"], rows, numbers=True)
    of_cases = [[case, *cells] for case, *cells in zip(first.cases, *differences, strict=True)]
    cases = table(["case", *names], of_cases, numbers=True, sortable=True)
    return (
        f'<h2>{html.escape(title_of(protocol, first.measures))}</h2>\n<div class="scroll">{made}</div>\n<details>'
        f'<summary>Differences of each case: press a title to sort</summary><div class="scroll">{cases}</div>'
        "</details>\n"
    )


def _better(less: list[float], record: EvaluationRecord, name: str) -> str:
    interval = interval_or_none(less, record.patients)
    if interval is None:
        return ""
    if interval.low <= 0 <= interval.high:
        return "open"
    return "first" if (interval.low > 0) == (record.measures[name]["better"] == "higher") else "second"
