"""Which radiograph files belong together."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from conventions import InputError, Keys, View

pydicom, has_pydicom = optional_import("pydicom")

logger = logging.getLogger("x2ct.cohort")

VIEW_WORDS = {
    View.PA: ("pa", "ap", "frontal", "front", "f", "p"),
    View.LATERAL: ("lateral", "lat", "ll", "rl", "side", "l"),
}
"""Last words of a file's name, in any case."""

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".nii.gz", "")
"""Of files that may be radiographs; what others hold is not asked."""

_VIEW_POSITIONS = {"PA": View.PA, "AP": View.PA, "LL": View.LATERAL, "RL": View.LATERAL, "LATERAL": View.LATERAL}

_WHAT_TO_DO = "name such files CASE_pa, CASE_lateral, or give two by --pa and --lateral"

_DICOMDIR = "DICOMDIR"
"""The index of a disc: DICOM, but no film."""

_PARTED = re.compile(r"^(?P<case>.*?)[ _.\-]*(?P<word>[A-Za-z]+)$")


def radiograph_pairs(
    folder: str | os.PathLike[str] | None = None,
    pa: str | os.PathLike[str] | None = None,
    lateral: str | os.PathLike[str] | None = None,
    case: str = "synthetic_ct",
    views: Sequence[str] = tuple(View),
) -> list[dict[str, Any]]:
    """The radiographs of one patient, or of all patients of a folder.

    In a folder, files belong together by their names (`smith_pa.png` and `smith_lateral.dcm`), by the folder they share
    (`smith/pa.png`, `smith/lat.png`), or, where names do not tell the view, by the study of their DICOM tags; these
    cases are numbered, as nothing of the tags is written. A file that may be a film, of which neither tells, is named
    in a warning and left out.

    Args:
        folder: of the radiographs of many patients; None takes `pa` and `lateral`.
        pa: file of the PA film.
        lateral: file of the lateral film, where the model reads one.
        case: name of the one patient's results.
        views: those that the model reads.

    Returns:
        An item a patient: `image`, the files in the order of the views; `case`; and `problem`, a sentence, where a
        film is missing or there are several.

    Raises:
        InputError: where the folder is not there or holds no radiographs, or two patients would have one name.
    """
    wanted = tuple(View(view) for view in views)
    if folder is None:
        given = {View.PA: pa, View.LATERAL: lateral}
        missing = [view for view in wanted if given[view] in (None, "")]
        if missing == [View.LATERAL] and str(pa).lower().endswith((".nii", ".nii.gz")):
            return [{Keys.IMAGE: str(pa), Keys.CASE: str(case)}]
        if missing:
            options = " and ".join(f"--{view} FILE" for view in missing)
            raise InputError(f"this model reads {' and '.join(wanted)}: give {options} too, or --dataset_dir FOLDER")
        return [{Keys.IMAGE: [str(given[view]) for view in wanted], Keys.CASE: str(case)}]
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; give --dataset_dir, a folder of radiographs")
    told, untold = _told_apart(root)
    cases: dict[str, dict[View, list[Path]]] = {}
    for name, view, file in told:
        cases.setdefault(name, {}).setdefault(view, []).append(file)
    if not cases:
        left_out = f" ({len(untold)} left out, such as {untold[0].name})" if untold else ""
        raise InputError(
            f"{root}: holds no radiographs whose name or DICOM tags tell the view{left_out}; {_WHAT_TO_DO}"
        )
    for file in untold:
        logger.warning("left out: %s: neither its name nor DICOM tags tell its case and view; %s", file, _WHAT_TO_DO)
    return [_item(name, films, wanted) for name, films in sorted(cases.items())]


def _item(name: str, films: dict[View, list[Path]], wanted: Sequence[View]) -> dict[str, Any]:
    item: dict[str, Any] = {Keys.CASE: name, Keys.IMAGE: [str(films[v][0]) for v in wanted if v in films]}
    for view in wanted:
        count = len(films.get(view, []))
        if count == 0:
            there = ", ".join(str(file) for files in films.values() for file in files)
            item["problem"] = f"{there}: the {view} film of case {name} is missing; add it, or use a single-view model"
        elif count > 1:
            item["problem"] = f"{films[view][1]}: case {name} has {count} {view} films; leave one of them"
    return item


def _told_apart(root: Path) -> tuple[list[tuple[str, View, Path]], list[Path]]:
    """(case, view, file) of each file whose name or tags tell them, and the other files that may be films."""
    found, silent, untold = [], [], []
    for file in files_below(root, SUFFIXES):
        told = _by_name(root, file, _parted(file)[0])
        found.append((*told, file)) if told else silent.append(file)
    numbers: dict[str, str] = {}
    for file in silent:
        header = _header(file)
        tags = _by_tags(header)
        if tags:
            study, view = tags
            found.append((numbers.setdefault(study, f"study_{len(numbers) + 1:03d}"), view, file))
        elif _parted(file)[1] or (header is not None and file.name != _DICOMDIR):  # not a README
            untold.append(file)
    return found, untold


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Files of a folder and those below it that end in one of some suffixes, in any case; hidden ones are none."""
    found = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in found if _parted(file)[1] in suffixes)


def _parted(file: Path) -> tuple[str, str]:
    name = file.name
    suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else file.suffix
    return name[: len(name) - len(suffix)], suffix.lower()


def _by_name(root: Path, file: Path, stem: str) -> tuple[str, View] | None:
    match = _PARTED.match(stem)
    if match is None:
        return None
    view = next((view for view, words in VIEW_WORDS.items() if match["word"].lower() in words), None)
    if view is None:
        return None
    above = file.parent.relative_to(root).parts
    name = "_".join([*above, match["case"]] if match["case"] else above)
    return (name, view) if name else None


def _header(file: Path) -> Any:
    """The tags that tell a film's study and view; None where it is no DICOM."""
    if not has_pydicom:
        return None
    try:
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "ViewPosition"])
    except (pydicom.errors.InvalidDicomError, OSError, ValueError, KeyError, EOFError, AttributeError, TypeError):
        return None


def _by_tags(header: Any) -> tuple[str, View] | None:
    """(study, view) as DICOM tags tell them; the study is compared and dropped."""
    if header is None:
        return None
    view = _VIEW_POSITIONS.get(str(header.get("ViewPosition", "")).upper())
    study = str(header.get("StudyInstanceUID", ""))
    return (study, view) if view and study else None
