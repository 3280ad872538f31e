"""Read a case back from what an evaluation or an inference wrote, and write pages of the cases to look at first."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import InputError
from drr import Acquisition

from .case_page import CaseContent, write_case_page

nibabel, _ = optional_import("nibabel")
Image, _ = optional_import("PIL.Image")

VOLUMES = "volumes"
"""Folder of the volumes in the `output_dir` of an evaluation; an inference has them in the `output_dir` itself."""

PAGES = "pages"
"""Folder of the pages in the same place."""

ORDER = "psnr_db/prediction"
"""Column of `cases.csv` by which cases are put in order, from worst to best."""


def read_case(folder: str | os.PathLike[str], case: str) -> CaseContent:
    """Read a case from the files of an evaluation or of an inference.

    Args:
        folder: the `output_dir` of the run.
        case: name of the case.

    Returns:
        What its page shows: with truth and measures after an evaluation, with the films' reading after an inference.

    Raises:
        InputError: where the prediction or its sidecar is missing, damaged or of another version.
    """
    root = Path(folder)
    volumes = root / VOLUMES if (root / VOLUMES).is_dir() else root
    sidecar = _sidecar(volumes / f"{case}.json", root)
    acquisition = Acquisition.from_record(sidecar["acquisition"])
    return CaseContent(
        case=case,
        prediction_hu=_voxels(volumes / f"{case}.nii.gz"),
        acquisition=acquisition,
        truth_hu=_voxels_if_there(volumes / f"{case}_truth.nii.gz"),
        error_hu=_voxels_if_there(volumes / f"{case}_expected_error.nii.gz"),
        image=_radiographs(root, case, acquisition.view_names),
        model=sidecar.get("model", {}),
        films=sidecar.get("radiographs", ()),
        measures=read_measures(root).get(case, {}),
    )


def read_measures(folder: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Read the measures of each case of an evaluation.

    Args:
        folder: the `output_dir` of the evaluation.

    Returns:
        Case -> column -> value; empty where there is no `cases.csv`. Cells that hold no number are left out.
    """
    path = Path(folder) / "cases.csv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {row["case"]: {name: float(cell) for name, cell in row.items() if _is_number(cell)} for row in rows}


def cases_to_show(measures: Mapping[str, Mapping[str, float]], count: int) -> list[str]:
    """Choose cases evenly from the worst to the best.

    Args:
        measures: what `read_measures` returned.
        count: number of cases; of three, they are the worst, the median and the best.

    Returns:
        Their names, the worst first; all where there are not more.
    """
    ordered = sorted(measures, key=lambda case: measures[case].get(ORDER, 0.0))
    if count >= len(ordered):
        return ordered
    places = [len(ordered) // 2] if count == 1 else np.rint(np.linspace(0, len(ordered) - 1, count)).astype(int)
    return [ordered[place] for place in places]


def write_pages(folder: str | os.PathLike[str], cases: Sequence[str]) -> list[Path]:
    """Write pages of cases of an evaluation or of an inference, `pages/<case>.html`.

    Args:
        folder: the `output_dir` of the run.
        cases: names of the cases.

    Returns:
        The pages.

    Raises:
        InputError: as in `read_case`.
    """
    return [write_case_page(Path(folder) / PAGES / f"{case}.html", read_case(folder, case)) for case in cases]


def _sidecar(path: Path, root: Path) -> dict[str, Any]:
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{root}: holds no predicted volume of {path.stem!r}; give the output_dir of evaluating or inferring, and "
            "one of its cases"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run the prediction again") from error
    if not isinstance(sidecar, dict) or "acquisition" not in sidecar:
        raise InputError(f"{path}: does not say how the radiographs were made; run the prediction again")
    return sidecar


def _voxels(path: Path) -> np.ndarray:
    try:
        return np.asarray(nibabel.load(path).dataobj, dtype=np.float32)
    except Exception as error:  # nibabel raises what its parts raise
        raise InputError(f"{path}: cannot be read ({error}); run the prediction again") from error


def _voxels_if_there(path: Path) -> np.ndarray | None:
    return _voxels(path) if path.is_file() else None


def _radiographs(root: Path, case: str, views: Sequence[str]) -> np.ndarray | None:
    """Read the radiographs of a case; None where they were not kept."""
    for name in ("radiographs/{case}_{view}.png", "{case}_{view}_shown.png"):
        files = [root / name.format(case=case, view=view) for view in views]
        if all(file.is_file() for file in files):
            return np.stack([np.asarray(Image.open(file), dtype=np.float32) / 65535 for file in files])
    return None


def _is_number(cell: str) -> bool:
    try:
        return not math.isnan(float(cell))
    except ValueError:
        return False
