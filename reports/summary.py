"""The figures of an evaluation as a table to read in a terminal."""

from __future__ import annotations

import json
import os
from pathlib import Path

from conventions import InputError

MEASURES = {"psnr_db": "PSNR dB", "ssim": "SSIM", "mae_hu": "MAE HU"}
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
    if not isinstance(summary, dict) or not {"held_out_cases", *MEASURES} <= set(summary):
        raise InputError(f"{root / 'summary.json'}: is not the summary of an evaluation; run evaluating again")
    cases = summary["held_out_cases"]
    lines = [
        f"{len(cases)} held-out cases, averages (PSNR peak is the width of the HU window, SSIM in 3-D):",
        "",
        f"  {'':38}" + "".join(f"{title:>10}" for title in MEASURES.values()),
    ]
    for key, title in ROWS.items():
        values = [summary[measure].get(key) for measure in MEASURES]
        if None not in values:
            psnr, ssim, mae = values
            lines.append(f"  {title:38}{psnr:10.2f}{ssim:10.3f}{mae:10.1f}")
    gain = summary["psnr_db"]["prediction"] - summary["psnr_db"].get("mean_volume", float("nan"))
    lines += [
        "",
        f"  gain over the mean volume: {gain:.2f} dB; a network that reads its input loses most of it with another",
        "  case's radiographs.",
        "",
        f"numbers   {root / 'summary.json'}, {root / 'cases.csv'} (one row a case), {root / 'losses.csv'}",
        f"pictures  {root / 'cases'}{os.sep} (one a case), {root / 'losses.png'}",
    ]
    inferred = sorted((root / "inference").glob("*.nii.gz"), key=lambda path: path.stat().st_mtime)
    if inferred:
        lines.append(f"a CT from two radiographs alone  {inferred[-1]}, and its picture beside it")
    return "\n".join(lines)
