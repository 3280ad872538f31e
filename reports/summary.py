"""The figures of an evaluation as a table to read in a terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conventions import InputError

COLUMNS = {"psnr_db": ("PSNR dB", 2), "ssim": ("SSIM", 3), "mae_hu": ("MAE HU", 1)}
"""Measure -> its title and decimals."""

PAPER_COLUMNS = {
    "paper_psnr_avg": ("PSNR-avg dB", 2),
    "paper_psnr_3d": ("PSNR-3D dB", 2),
    "paper_ssim_avg": ("SSIM-avg", 3),
}
"""The same for the measures as the authors compute them that published tables show."""

ROWS = {
    "prediction": "this network",
    "mean_volume": "mean training volume",
    "shuffled_input": "network, another case's radiographs",
}


def summary_table(folder: str | os.PathLike[str]) -> str:
    """The table of an evaluation, and where its files lie.

    Args:
        folder: the `output_dir` of an evaluation, with its `summary.json`.

    Returns:
        Lines of text.

    Raises:
        InputError: where there is no summary.
    """
    root = Path(folder)
    try:
        summary = json.loads((root / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{root}: holds no readable summary.json ({error}); run evaluating with this output_dir"
        ) from error
    if not isinstance(summary, dict) or not {"held_out_cases", *COLUMNS} <= set(summary):
        raise InputError(f"{root / 'summary.json'}: is not the summary of an evaluation; run evaluating again")
    cases = summary["held_out_cases"]
    lines = [
        f"{len(cases)} held-out cases, averages (PSNR peak is the width of the HU window, SSIM in 3-D):",
        "",
        *_table(summary, COLUMNS),
    ]
    gain = summary["psnr_db"]["prediction"] - summary["psnr_db"].get("mean_volume", float("nan"))
    lines += [
        "",
        f"  gain over the mean volume: {gain:.2f} dB; a network that reads its input loses most of it with another",
        "  case's radiographs.",
        "",
    ]
    if set(PAPER_COLUMNS) <= set(summary):
        lines += [
            "as the authors compute it: peak 4095, slice-wise; +4.29 dB; to compare with published tables alone:",
            "",
            *_table(summary, PAPER_COLUMNS),
            "",
        ]
    lines += [
        f"numbers   {root / 'summary.json'}, {root / 'cases.csv'} (one row a case), {root / 'losses.csv'}",
        f"pictures  {root / 'cases'}{os.sep} (one a case), {root / 'losses.png'}",
    ]
    inferred = sorted((root / "inference").glob("*.nii.gz"), key=lambda path: path.stat().st_mtime)
    if inferred:
        lines.append(f"a CT from two radiographs alone  {inferred[-1]}, and its picture beside it")
    return "\n".join(lines)


def _table(summary: Mapping[str, Any], columns: Mapping[str, tuple[str, int]]) -> list[str]:
    """One row for each prediction that was measured, one column for each measure, under their titles."""
    lines = [f"  {'':38}" + "".join(f"{title:>13}" for title, _ in columns.values())]
    for key, row in ROWS.items():
        cells = [(summary[measure].get(key), places) for measure, (_, places) in columns.items()]
        if all(value is not None for value, _ in cells):
            lines.append(f"  {row:38}" + "".join(f"{value:13.{places}f}" for value, places in cells))
    return lines
