"""State the figures of an evaluation in a model card: a block between two marks, made from a small file of them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conventions import InputError, Keys
from storage import write_atomically, write_json

from .evaluation_record import PREDICTION, EvaluationRecord, interval_or_none, read_evaluation
from .flags import NAMING, Check, check_evaluation
from .volume_checks import examine_volumes

FIGURES_SCHEMA = "x2ct-figures 1"
"""Name and version of the form of a file of figures."""

FIGURES_FILE = "figures.json"
"""File of figures beside a model card."""

CARD_MARKS = ("<!-- figures: made by python -m reports card, do not edit -->", "<!-- end of figures -->")
"""Marks before and after the block of a model card that is made."""

CARD_ROWS = {
    "psnr_db": ("PSNR of the volume, dB", 2),
    "ssim": ("SSIM, 3-D", 3),
    "mae_hu": ("mean absolute error, HU", 0),
    "body_mae_hu": ("the same inside the body, HU", 0),
    "lung_mae_hu": ("the same of lung, HU", 0),
    "bone_mae_hu": ("the same of bone, HU", 0),
    "lung_dice": ("lungs, Dice", 3),
    "bone_dice": ("bone, Dice", 3),
    "lung_total_ml_error": ("volume of both lungs off by, ml", 0),
    "thorax_width_mm_error": ("width of the thorax off by, mm", 1),
    "heart_width_mm_error": ("width of the heart off by, mm", 1),
    "cardiothoracic_ratio_error": ("cardiothoracic ratio off by", 3),
    "spine_distance_mm": ("centre line of the spine off by, mm", 1),
    "ribs_distance_mm": ("centre lines of the ribs off by, mm", 1),
    "reprojection_shown": ("re-projection error in the views shown", 3),
    "reprojection_oblique": ("re-projection error in a view not shown", 3),
    "false_structure": ("patches of false structure, share", 3),
    **{f"nodule_{size}mm_kept": (f"contrast left of planted nodules of {size} mm", 3) for size in (5, 10, 16, 24, 32)},
    "film_psnr_db": ("from films, after alignment: PSNR, dB", 2),
    "film_drr_psnr_db": ("from DRRs of the same CTs, after alignment: PSNR, dB", 2),
    "film_gap_db": ("the gap between them, dB", 2),
    "film_lung_total_ml_error": ("from films: volume of both lungs off by, ml", 0),
    "film_cardiothoracic_ratio_error": ("from films: cardiothoracic ratio off by", 3),
}
"""Measure of a model card -> its words and decimals; those that were not taken are left out."""

CARD_COLUMNS = {
    PREDICTION: "this model",
    Keys.WITHOUT_UPDATE.value: "the same, before the update",
    Keys.MEAN_VOLUME.value: "mean training volume",
    Keys.NEAREST_CASE.value: "nearest training case",
    Keys.SHUFFLED_INPUT.value: "another patient's radiographs",
}
"""Prediction -> title of its column."""


def write_card(source: str | os.PathLike[str], card: str | os.PathLike[str], notes: Sequence[str] = ()) -> list[Path]:
    """Put the figures of an evaluation into a model card, and into `figures.json` beside it.

    Args:
        source: the `output_dir` of the evaluation, or a file of figures, which is not written then.
        card: the model card; what lies between `CARD_MARKS` is replaced, all else stays.
        notes: sentences on the evaluation that stand below its figures, such as who was held out.

    Returns:
        The files written.

    Raises:
        InputError: where the evaluation, the figures or the card cannot be read, or the card has no such marks.
    """
    path, written = Path(card), []
    figures = card_figures(source, notes) if Path(source).is_dir() else read_figures(source)
    text = _with_block(path, figures_block(figures))
    if Path(source).is_dir():
        written.append(write_json(path.parent / FIGURES_FILE, figures))
    written.append(write_atomically(path, lambda part: part.write_text(text, encoding="utf-8")))
    return written


def card_figures(folder: str | os.PathLike[str], notes: Sequence[str] = ()) -> dict[str, Any]:
    """Sum up an evaluation for a model card; no case and no patient is named.

    Args:
        folder: the `output_dir` of the evaluation.
        notes: sentences on the evaluation.

    Returns:
        `schema`; `model`, its network, checkpoint, SHA-256 and numbers of data; `cases` and `patients`, how many were
        held out; `measures`, of `CARD_ROWS`, prediction -> [mean, low, high, measured cases], of signed errors that of
        their size, null where it is not known; `checks`, question -> [answer, words]; `notes`.
    """
    record = read_evaluation(folder)
    measures = {
        name: {key: _mean_and_ends(record, name, key) for key in CARD_COLUMNS if (name, key) in record.columns}
        for name in CARD_ROWS
        if record.has(name)
    }
    checks = check_evaluation(record, examine_volumes(folder, record.cases))
    return {
        "schema": FIGURES_SCHEMA,
        "model": {
            "network": record.model.get("network", {}).get("name", "unknown"),
            "checkpoint": Path(str(record.model.get("checkpoint", "unknown"))).name,
            "sha256": record.model.get("sha256", "unknown"),
            "data": record.model.get("data", {}),
        },
        "cases": len(record.cases),
        "patients": len(set(record.patients)),
        "measures": measures,
        "checks": {check.name: [check.state, _words(check)] for check in checks},
        "notes": list(notes),
    }


def read_figures(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of figures.

    Args:
        path: the file, as `write_card` writes it.

    Raises:
        InputError: where it is missing, damaged or of another form.
    """
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such evaluation or file of figures; run evaluating first") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); write it by python -m reports card") from error
    if not isinstance(content, dict) or content.get("schema") != FIGURES_SCHEMA:
        raise InputError(
            f"{path}: is not of the form {FIGURES_SCHEMA!r}; give the output_dir of evaluating, or a file that "
            "python -m reports card wrote"
        )
    return content


def figures_block(figures: Mapping[str, Any]) -> str:
    """Return the block of a model card, in Markdown, without its marks.

    Args:
        figures: as `card_figures` returns them.
    """
    model, measures = figures["model"], figures["measures"]
    columns = {key: title for key, title in CARD_COLUMNS.items() if any(key in row for row in measures.values())}
    data = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in model["data"].items())
    lines = [
        f"Network {model['network']}, weights {model['checkpoint']} (SHA-256 {model['sha256'][:16]}"
        f"{'; ' + data if data else ''}). {figures['cases']} held-out cases of {figures['patients']} patients; means "
        "over cases, in brackets 95 % intervals over patients. Errors that have a sign are given by their size.",
        "",
        f"| measure | {' | '.join(columns.values())} |",
        f"|---|{'---|' * len(columns)}",
    ]
    for name, (words, places) in CARD_ROWS.items():
        if name in measures:
            cells = [_cell(measures[name].get(key), places, figures["cases"]) for key in columns]
            lines.append(f"| {words} | {' | '.join(cells)} |")
    lines += ["", "| check | answer | figures |", "|---|---|---|"]
    lines += [f"| {name} | {state} | {words.replace('|', '/')} |" for name, (state, words) in figures["checks"].items()]
    lines += [line for note in figures["notes"] for line in ("", note)]
    return "\n".join(lines)


def _with_block(card: Path, block: str) -> str:
    """Return the text of a card with another block between its marks."""
    try:
        text = card.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{card}: cannot be read ({error}); give a model card by --card") from error
    before, begin, rest = text.partition(CARD_MARKS[0])
    _, end, after = rest.partition(CARD_MARKS[1])
    if not begin or not end:
        raise InputError(f"{card}: has no place for figures; put {' and '.join(CARD_MARKS)} on lines of their own")
    return f"{before}{begin}\n\n{block}\n\n{end}{after}"


def _mean_and_ends(record: EvaluationRecord, name: str, key: str) -> list[float | None]:
    values = record.badness(name, key)
    measured = [value for value in values if math.isfinite(value)]
    interval = interval_or_none(values, record.patients)
    if interval is not None:
        return [*(float(f"{value:.6g}") for value in (interval.mean, interval.low, interval.high)), len(measured)]
    return [float(f"{np.mean(measured):.6g}") if measured else None, None, None, len(measured)]


def _cell(entry: Sequence[float | None] | None, places: int, cases: int) -> str:
    if entry is None or entry[0] is None:
        return "" if entry is None else "in no case"
    mean, low, high, measured = entry
    ends = "" if low is None or high is None else f" ({low:.{places}f} to {high:.{places}f})"
    return f"{mean:.{places}f}{ends}{'' if measured == cases else f', {measured} of {cases} cases'}"


def _words(check: Check) -> str:
    """Return the words of a check, without those that name cases, which may say who a patient is."""
    if check.state == "flag" and check.name in NAMING:
        return "some cases are not; the report of the evaluation names them"
    return check.words
