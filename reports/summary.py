"""Print the numbers of an evaluation as a table."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conventions import InputError

COLUMNS = {"psnr_db": ("PSNR dB", 2), "ssim": ("SSIM", 3), "mae_hu": ("MAE HU", 1)}
"""Measure -> title and decimals."""

PAPER_COLUMNS = {
    "paper_psnr_avg": ("PSNR-avg dB", 2),
    "paper_psnr_3d": ("PSNR-3D dB", 2),
    "paper_ssim_avg": ("SSIM-avg", 3),
}
"""Measure as the authors compute it, as in published tables -> title and decimals."""

NUMBERS = {
    "summary.json": "the averages",
    "cases.csv": "one row per case",
    "calibration.csv": "expected errors",
    "losses.csv": "training",
}
"""File of numbers in the `output_dir` of an evaluation, or of a training before it -> what it holds."""

PICTURES = {
    "report.html": "to open in a browser: figures with intervals, what to doubt, cases",
    "pages": "to open in a browser: worst, median and best case, with a viewer",
    "cases": "one per case",
    "radiographs": "16 bit, as the network saw them",
    "films": "real films of the same patients, as they were read, and what was predicted from them",
    "losses.png": "training",
}
"""Folder or file of pictures in the same place -> what it holds."""

ROWS = {
    "prediction": "this network",
    "without_update": "the same, before it agreed with films",
    "mean_volume": "mean training volume",
    "nearest_case": "nearest training case",
    "shuffled_input": "network, another case's radiographs",
}
"""Prediction -> title of its row; an evaluation may lack all but the first."""


def summary_table(folder: str | os.PathLike[str]) -> str:
    """Return the table of an evaluation and the locations of the files that there are.

    Args:
        folder: the `output_dir` of an evaluation, with its `summary.json`.

    Returns:
        Lines of text. A control that was not measured has no row, a measure that was not taken no column.

    Raises:
        InputError: where there is no summary.
    """
    root = Path(folder)
    summary = _read(root)
    lines = [_title(summary), "", *_table(summary, COLUMNS)]
    psnr = {key: float(value) for key, value in summary.get("psnr_db", {}).items() if value is not None}
    if math.inf in psnr.values():
        lines += ["", "  inf: a prediction equals the truth in every voxel, in one case or more."]
    elif {"mean_volume", "prediction"} <= psnr.keys():
        lines += [
            "",
            f"  gain over the mean volume: {psnr['prediction'] - psnr['mean_volume']:.2f} dB; a network that reads its",
            "  input loses most of it with another case's radiographs.",
        ]
    lines.append("")
    if set(PAPER_COLUMNS) <= set(summary):
        lines += [
            "as the authors compute it (peak 4095, slice-wise; +4.29 dB), only for comparison with published tables:",
            "",
            *_table(summary, PAPER_COLUMNS),
            "",
        ]
    for title, files in (("numbers", NUMBERS), ("pictures", PICTURES)):
        there = [f"{root / name} ({what})" for name, what in files.items() if (root / name).exists()]
        lines += [f"{title if number == 0 else '':9} {line}" for number, line in enumerate(there)]
    inferred = sorted((root / "inference").glob("*.nii.gz"), key=lambda path: path.stat().st_mtime)
    if inferred:
        lines.append(f"synthetic CT from radiographs alone  {inferred[-1]}, with its picture next to it")
    return "\n".join(lines)


def comparison_table(folders: Sequence[str | os.PathLike[str]]) -> str:
    """Return one table of several evaluations of the same cases, each under the name of its folder.

    Args:
        folders: the `output_dir` of each evaluation.

    Returns:
        Lines of text: each network as its CTs were written and, where they were updated to agree with their films,
        before that; then the mean training volume.

    Raises:
        InputError: where a folder has no summary, or another has other cases.
    """
    roots = [Path(folder) for folder in folders]
    summaries = [_read(root) for root in roots]
    for root, summary in zip(roots, summaries, strict=True):
        if not set(COLUMNS) <= set(summary):
            raise InputError(f"{root / 'summary.json'}: lacks one of {', '.join(COLUMNS)}; evaluate with all of them")
        if summary["held_out_cases"] != summaries[0]["held_out_cases"]:
            raise InputError(f"{root}: was evaluated on other cases than {roots[0]}; evaluate both on the same ones")
    lines = [_title(summaries[0]), "", _header(COLUMNS)]
    for root, summary in zip(roots, summaries, strict=True):
        if "without_update" in summary["psnr_db"]:
            lines += _row(summary, "without_update", root.name, COLUMNS)
            lines += _row(summary, "prediction", f"{root.name}, made to agree with its films", COLUMNS)
        else:
            lines += _row(summary, "prediction", root.name, COLUMNS)
    lines += _row(summaries[0], "mean_volume", ROWS["mean_volume"], COLUMNS)
    return "\n".join(lines)


def _read(root: Path) -> dict[str, Any]:
    try:
        summary = json.loads((root / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{root}: holds no readable summary.json ({error}); run evaluating with this output_dir"
        ) from error
    if not isinstance(summary, dict) or "held_out_cases" not in summary:
        raise InputError(f"{root / 'summary.json'}: is not the summary of an evaluation; run evaluating again")
    return summary


def _title(summary: Mapping[str, Any]) -> str:
    cases = len(summary["held_out_cases"])
    return f"{cases} held-out cases, averages (PSNR peak is the width of the HU window, SSIM in 3-D):"


def _header(columns: Mapping[str, tuple[str, int]]) -> str:
    return f"  {'':38}" + "".join(f"{title:>13}" for title, _ in columns.values())


def _row(summary: Mapping[str, Any], key: str, title: str, columns: Mapping[str, tuple[str, int]]) -> list[str]:
    """Return the line of one prediction; none where it was not measured."""
    cells = [(summary[measure].get(key), places) for measure, (_, places) in columns.items()]
    if not cells or any(value is None for value, _ in cells):
        return []
    return [f"  {title:38}" + "".join(f"{float(value):13.{places}f}" for value, places in cells)]


def _table(summary: Mapping[str, Any], columns: Mapping[str, tuple[str, int]]) -> list[str]:
    """Return the lines of a table: a row for each prediction that was measured, a column for each measure."""
    columns = {measure: column for measure, column in columns.items() if measure in summary}
    rows = [line for key, title in ROWS.items() for line in _row(summary, key, title, columns)]
    return [_header(columns), *rows] if columns else []
