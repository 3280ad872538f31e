"""Group radiograph files by patient and view."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conventions import InputError, Keys, View
from readers import NAMING, group_films

logger = logging.getLogger("x2ct.cohort")


def radiograph_pairs(
    folder: str | os.PathLike[str] | None = None,
    pa: str | os.PathLike[str] | None = None,
    lateral: str | os.PathLike[str] | None = None,
    case: str = "synthetic_ct",
    views: Sequence[str] = tuple(View),
) -> list[dict[str, Any]]:
    """Group the radiographs of one patient, or of all patients of a folder.

    In a folder, films are grouped as in `readers.group_films`. A possible film whose view cannot be determined is left
    out with a warning.

    Args:
        folder: folder of the radiographs of many patients; None takes `pa` and `lateral`.
        pa: file of the PA film; or what holds the films of all views, a folder or a NIfTI file, if it is given alone.
        lateral: file of the lateral film, where the model reads one; or a folder in which it is.
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
        if missing == [View.LATERAL] and _holds_all(str(pa)):
            return [{Keys.IMAGE: str(pa), Keys.CASE: str(case)}]
        item: dict[str, Any] = {Keys.IMAGE: [str(given[v]) for v in wanted if v not in missing], Keys.CASE: str(case)}
        if missing:
            options = " and ".join(f"--{view} FILE" for view in missing)
            alone = [str(view) for view in wanted if view not in missing]
            too = f' too, or with RayLift --views "{alone}" for that film alone' if alone else ""
            item[Keys.PROBLEM] = (
                f"this model reads {' and '.join(wanted)}: give {options}{too}, or --dataset_dir FOLDER"
            )
        return [item]
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder; give --dataset_dir, a folder of radiographs")
    groups = group_films(root)
    if not groups.cases:
        lost = groups.undetermined
        left_out = f" ({len(lost)} left out, such as {lost[0].name})" if lost else ""
        raise InputError(f"{root}: holds no radiographs whose name or DICOM tags give the view{left_out}; {NAMING}")
    for file in groups.undetermined:
        logger.warning("left out: %s: neither its name nor DICOM tags give its case and view; %s", file, NAMING)
    return [_item(name, films, wanted) for name, films in sorted(groups.cases.items())]


def _holds_all(path: str) -> bool:
    """Return whether a path given alone may hold the films of all views."""
    return path.lower().endswith((".nii", ".nii.gz")) or Path(path).is_dir()


def _item(name: str, films: dict[View, list[Path]], wanted: Sequence[View]) -> dict[str, Any]:
    item: dict[str, Any] = {Keys.CASE: name, Keys.IMAGE: [str(films[v][0]) for v in wanted if v in films]}
    for view in wanted:
        count = len(films.get(view, []))
        if count == 0:
            there = ", ".join(str(file) for files in films.values() for file in files)
            item[Keys.PROBLEM] = (
                f"{there}: the {view} film of case {name} is missing; add it, or use a single-view model"
            )
        elif count > 1:
            item[Keys.PROBLEM] = f"{films[view][1]}: case {name} has {count} {view} films; leave one of them"
    return item
