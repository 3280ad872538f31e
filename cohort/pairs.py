"""Group radiograph files by patient and view."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from conventions import InputError, Keys, View
from readers import RADIOGRAPH_SUFFIXES, view_of_position

from .tolerant import PROBLEM

pydicom, has_pydicom = optional_import("pydicom")

logger = logging.getLogger("x2ct.cohort")

VIEW_WORDS = {
    View.PA: ("pa", "ap", "frontal", "front", "f", "p"),
    View.LATERAL: ("lateral", "lat", "ll", "rl", "side", "l"),
}
"""View -> words that name it at the end of a file name, in upper or lower case."""

SUFFIXES = (*RADIOGRAPH_SUFFIXES, "")
"""Suffixes of files that may be radiographs, DICOM files without one among them; other files are ignored."""

_WHAT_TO_DO = "name such files CASE_pa, CASE_lateral, or give two by --pa and --lateral"

_DICOMDIR = "DICOMDIR"
"""Name of the index of a disc: DICOM, but not a film."""

_PARTED = re.compile(r"^(?P<case>.*?)[ _.\-]*(?P<word>[A-Za-z]+)$")


def radiograph_pairs(
    folder: str | os.PathLike[str] | None = None,
    pa: str | os.PathLike[str] | None = None,
    lateral: str | os.PathLike[str] | None = None,
    case: str = "synthetic_ct",
    views: Sequence[str] = tuple(View),
) -> list[dict[str, Any]]:
    """Group the radiographs of one patient, or of all patients of a folder.

    In a folder, files are grouped by their names (`smith_pa.png` and `smith_lateral.dcm`), by the folder they share
    (`smith/pa.png`, `smith/lat.png`), or, where the name does not give the view, by the study in their DICOM tags.
    Cases found by tags are numbered, since nothing from the tags is written out. A possible film whose view cannot be
    determined is left out with a warning.

    Args:
        folder: folder of the radiographs of many patients; None takes `pa` and `lateral`.
        pa: file of the PA film.
        lateral: file of the lateral film, where the model reads one.
        case: name of the results of a single patient.
        views: views that the model reads.

    Returns:
        One item per patient: `image`, the files in the order of the views; `case`; and `problem`, a sentence, where a
        film is missing or there are several of one view.

    Raises:
        InputError: where the folder does not exist or holds no radiographs.
    """
    wanted = tuple(View(view) for view in views)
    if folder is None:
        given = {View.PA: pa, View.LATERAL: lateral}
        missing = [view for view in wanted if given[view] in (None, "")]
        if missing == [View.LATERAL] and str(pa).lower().endswith((".nii", ".nii.gz")):
            return [{Keys.IMAGE: str(pa), Keys.CASE: str(case)}]
        item: dict[str, Any] = {Keys.IMAGE: [str(given[v]) for v in wanted if v not in missing], Keys.CASE: str(case)}
        if missing:
            options = " and ".join(f"--{view} FILE" for view in missing)
            too = " too" if item[Keys.IMAGE] else ""
            item[PROBLEM] = f"this model reads {' and '.join(wanted)}: give {options}{too}, or --dataset_dir FOLDER"
        return [item]
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; give --dataset_dir, a folder of radiographs")
    found, undetermined = _find_views(root)
    cases: dict[str, dict[View, list[Path]]] = {}
    for name, view, file in found:
        cases.setdefault(name, {}).setdefault(view, []).append(file)
    if not cases:
        left_out = f" ({len(undetermined)} left out, such as {undetermined[0].name})" if undetermined else ""
        raise InputError(
            f"{root}: holds no radiographs whose name or DICOM tags give the view{left_out}; {_WHAT_TO_DO}"
        )
    for file in undetermined:
        logger.warning("left out: %s: neither its name nor DICOM tags give its case and view; %s", file, _WHAT_TO_DO)
    return [_item(name, films, wanted) for name, films in sorted(cases.items())]


def _item(name: str, films: dict[View, list[Path]], wanted: Sequence[View]) -> dict[str, Any]:
    item: dict[str, Any] = {Keys.CASE: name, Keys.IMAGE: [str(films[v][0]) for v in wanted if v in films]}
    for view in wanted:
        count = len(films.get(view, []))
        if count == 0:
            there = ", ".join(str(file) for files in films.values() for file in files)
            item[PROBLEM] = f"{there}: the {view} film of case {name} is missing; add it, or use a single-view model"
        elif count > 1:
            item[PROBLEM] = f"{films[view][1]}: case {name} has {count} {view} films; leave one of them"
    return item


def _find_views(root: Path) -> tuple[list[tuple[str, View, Path]], list[Path]]:
    """Return (case, view, file) where name or tags give them, and the other files that may be films."""
    found, unnamed, undetermined = [], [], []
    for file in files_below(root, SUFFIXES):
        named = _by_name(root, file, _parted(file)[0])
        found.append((*named, file)) if named else unnamed.append(file)
    numbers: dict[str, str] = {}
    for file in unnamed:
        header = _header(file)
        tags = _by_tags(header)
        if tags:
            study, view = tags
            found.append((numbers.setdefault(study, f"study_{len(numbers) + 1:03d}"), view, file))
        elif _parted(file)[1] or (header is not None and file.name != _DICOMDIR):  # not a README
            undetermined.append(file)
    return found, undetermined


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """List the visible files in and below a folder that have one of the suffixes, in upper or lower case."""
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
    """Read the tags that give the study and view of a film; None if the file is not DICOM."""
    if not has_pydicom:
        return None
    try:
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["StudyInstanceUID", "ViewPosition"])
    except (pydicom.errors.InvalidDicomError, OSError, ValueError, KeyError, EOFError, AttributeError, TypeError):
        return None


def _by_tags(header: Any) -> tuple[str, View] | None:
    """Return (study, view) from the tags, or None; the caller compares the study and drops it."""
    if header is None:
        return None
    view = view_of_position(str(header.get("ViewPosition", "")))
    study = str(header.get("StudyInstanceUID", ""))
    return (study, view) if view and study else None
