"""Find the studies of a folder, and the films of each: a DICOM study, files by their names, or uploads."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from conventions import View
from readers import CT_SUFFIXES, NIFTI_SUFFIXES, RADIOGRAPH_SUFFIXES, case_and_view

from .errors import RequestError

logger = logging.getLogger("x2ct.label")

LABELS = "labels"
"""Folder of the CTs in a folder of studies, which is none of them."""

ID = re.compile(r"\w[\w.\-]{0,119}", re.ASCII)
"""Name that an upload may give to a study: no folder, no hidden file, no option of a command."""


def find_studies(folder: Path, views: Sequence[View]) -> dict[str, str]:
    """Find the studies of a folder.

    A study is a folder with files, by its name; or a film whose name states its view, with the other views next to it:
    `smith_pa.png` and `smith_lateral.png` are the study `smith`. Other films are studies where the model reads one
    view, or one file may hold all views. Nothing is opened.

    Args:
        folder: folder of the studies.
        views: views that the model reads.

    Returns:
        Id -> name of the folder or of the file of the first view.
    """
    studies: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        name = _study_name(path, views)
        if name in studies:
            logger.warning("%s: is left out, since %s has its name already; rename one of them", path, studies[name])
        elif name:
            studies[name] = path.name
    return studies


def _study_name(path: Path, views: Sequence[View]) -> str:
    """Return the id of the study that a folder or file stands for; empty where it stands for none."""
    if path.name.startswith(".") or path.name == LABELS:
        return ""
    if path.is_dir():
        return path.name if any(file.is_file() for file in path.rglob("*")) else ""
    if not _may_be_film(path):
        return ""
    named = case_and_view(path)
    if named is not None:
        return named[0] if named[1] is views[0] else ""
    return _parted(path.name)[0] if len(views) == 1 or _parted(path.name)[1] in NIFTI_SUFFIXES else ""


def films_of(path: Path, views: Sequence[View]) -> list[Path]:
    """Find the films of a study.

    Args:
        path: folder of the study, which `inferring` searches by names and tags; or the file of the first view.
        views: views that the model reads, in order.

    Returns:
        The folder; or the files in the order of the views; or the one file that may hold all views.

    Raises:
        RequestError: where a view is missing, or there are several files of it.
    """
    named = None if path.is_dir() else case_and_view(path)
    if named is None:
        return [path]
    case = named[0]
    found: dict[View, list[Path]] = {view: [] for view in views}
    for file in sorted(path.parent.iterdir()):
        other = case_and_view(file) if _may_be_film(file) else None
        if other is not None and other[0] == case and other[1] in found:
            found[other[1]].append(file)
    for view, files in found.items():
        if not files:
            raise RequestError(f"{case}: its {view} film is missing; add it as {case}_{view}{_parted(path.name)[1]}")
        if len(files) > 1:
            raise RequestError(f"{case}: has {len(files)} {view} films, such as {files[1].name}; leave one of them")
    return [found[view][0] for view in views]


def upload_name(name: str | None, view: View | None = None) -> str:
    """Return the name under which an upload is kept.

    Args:
        name: name that the client gives it, of which only the last part counts.
        view: view that the film is given as; it becomes the name, and only the suffix stays.

    Returns:
        A name without folders.

    Raises:
        RequestError: where nothing of the name can be used.
    """
    last = re.split(r"[\\/]", name or "")[-1]
    if view is not None:
        return f"{view}{_parted(last, (*RADIOGRAPH_SUFFIXES, *CT_SUFFIXES))[1]}"
    if not ID.fullmatch(last):
        raise RequestError("the name of an uploaded file holds letters, digits and . _ - only; rename it")
    return last


def _may_be_film(file: Path) -> bool:
    """Return whether a file may hold a film, by its name."""
    return not file.name.startswith(".") and file.is_file() and (_parted(file.name)[1] != "" or not file.suffix)


def _parted(name: str, suffixes: Sequence[str] = RADIOGRAPH_SUFFIXES) -> tuple[str, str]:
    """Return the name of a file without its suffix, and the suffix in lower case; empty where it is none of these."""
    suffix = max((s for s in suffixes if name.lower().endswith(s)), key=len, default="")
    return name[: len(name) - len(suffix)], suffix
