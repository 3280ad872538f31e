"""Find which radiograph files belong together, by their names, their folders and their DICOM tags."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conventions import InputError, View

from .dicom import study_and_view
from .file_kind import RADIOGRAPH_SUFFIXES

VIEW_WORDS = {
    View.PA: ("pa", "ap", "frontal", "front", "f", "p"),
    View.LATERAL: ("lateral", "lat", "ll", "rl", "side", "l"),
}
"""View -> words that name it at the end of a file name, in upper or lower case."""

FILM_SUFFIXES = (*RADIOGRAPH_SUFFIXES, "")
"""Suffixes of files that may be radiographs, DICOM files without one among them; other files are ignored."""

NAMING = "name such files CASE_pa, CASE_lateral, or give two by --pa and --lateral"
"""What to do about files whose view is not known."""

_DICOMDIR = "DICOMDIR"
"""Name of the index of a disc: DICOM, but not a film."""

FilePath = str | os.PathLike[str]

_PARTED = re.compile(r"^(?P<case>.*?)[ _.\-]*(?P<word>[A-Za-z]+)$")


@dataclass
class FilmGroups:
    """Films of a folder by case.

    Args:
        cases: name -> view -> its files. Cases found by tags are numbered, since nothing from the tags is written out.
        undetermined: files that may be films of a case or view that is not known.
    """

    cases: dict[str, dict[View, list[Path]]]
    undetermined: list[Path]


@dataclass(frozen=True)
class _Found:
    """A file whose view is known; the case by its name, or the study by its tags, which is compared and dropped."""

    file: Path
    view: View
    case: str = ""
    study: str = ""


def files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """List the visible files in and below a folder that have one of the suffixes, in upper or lower case."""
    found = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in found if _parted(file)[1] in suffixes)


def stated_view(file: Path) -> View | None:
    """Return the view that the last word of a file's name states, else the one that its DICOM tags state."""
    named = case_and_view(file)
    return named[1] if named else study_and_view(file)[1]


def case_and_view(file: Path) -> tuple[str, View] | None:
    """Read what the name of a file begins with and the view that its last word states.

    Args:
        file: `smith_pa.png` is the PA film of the case `smith`, `lateral.dcm` the lateral one of a case without name.

    Returns:
        Name of the case and view; None where the name states no view.
    """
    match = _PARTED.match(_parted(file)[0])
    if match is None:
        return None
    view = next((view for view, words in VIEW_WORDS.items() if match["word"].lower() in words), None)
    return (match["case"], view) if view else None


def group_films(folder: Path) -> FilmGroups:
    """Group the films in and below a folder.

    Films belong together by the beginning of their names and the folders above (`smith_pa.png`, `smith_lateral.dcm`;
    `smith/pa.png`, `smith/lat.png`), or, where the name does not state the view, by the study in their DICOM tags. One
    frontal and one lateral film alone in a folder belong together whatever their names begin with, unless their studies
    differ.

    Args:
        folder: folder of films.

    Returns:
        The films by case.
    """
    found, undetermined = _find(folder)
    cases: dict[str, dict[View, list[Path]]] = {}
    numbers: dict[str, str] = {}
    for film in _alone_in_their_folders(folder, found):
        case = film.case or (film.study and numbers.setdefault(film.study, f"study_{len(numbers) + 1:03d}"))
        if case:
            cases.setdefault(case, {}).setdefault(film.view, []).append(film.file)
        else:
            undetermined.append(film.file)
    return FilmGroups(cases, sorted(undetermined))


def _find(root: Path) -> tuple[list[_Found], list[Path]]:
    """Return the films whose view is known, and the other files that may be films."""
    found: list[_Found] = []
    undetermined: list[Path] = []
    for file in files_below(root, FILM_SUFFIXES):
        named = case_and_view(file)
        if named:
            above = file.parent.relative_to(root).parts
            case = "_".join([*above, named[0]] if named[0] else above) or root.resolve().name
            found.append(_Found(file, named[1], case))
            continue
        study, view = study_and_view(file)
        if view:
            found.append(_Found(file, view, study=study or ""))
        elif _parted(file)[1] or (study is not None and file.name != _DICOMDIR):  # not a README
            undetermined.append(file)
    return found, undetermined


def _alone_in_their_folders(root: Path, films: Iterable[_Found]) -> list[_Found]:
    """Name the case of one frontal and one lateral film alone in a folder after the folder."""
    folders: dict[Path, list[_Found]] = {}
    for film in films:
        folders.setdefault(film.file.parent, []).append(film)
    named = []
    for folder, inside in folders.items():
        of_one = len({film.case for film in inside}) == 1 and (inside[0].case or inside[0].study)
        studies = {film.study for film in inside if film.study}
        if sorted(film.view for film in inside) == sorted(View) and not of_one and len(studies) < 2:
            case = "_".join(folder.relative_to(root).parts) or root.resolve().name
            inside = [replace(film, case=case) for film in inside]
        named += inside
    return named


def films_of_patient(path: FilePath, views: Sequence[View]) -> list[Path]:
    """Find the films of one patient.

    Args:
        path: a file, or a folder that holds one film of each view, such as a DICOM study.
        views: views that are needed, in order.

    Returns:
        The file itself, or those of a folder in the order of the views; the only file of a folder, whatever it is.

    Raises:
        InputError: where a folder holds no film of a view, or several.
    """
    folder = Path(path)
    if not os.path.isdir(path):  # false for a path that no system knows, where a Path would raise
        return [folder]
    found, undetermined = _find(folder)
    if len(found) + len(undetermined) == 1:
        return [*(film.file for film in found), *undetermined]
    films = {view: [film.file for film in found if film.view is view] for view in views}
    for view in views:
        count = len(films[view])
        if count == 0:
            others = f" ({len(undetermined)} may be films, such as {undetermined[0].name})" if undetermined else ""
            raise InputError(
                f"{folder}: holds no film whose name or DICOM tags state the view {view}{others}; {NAMING}"
            )
        if count > 1:
            raise InputError(
                f"{folder}: holds {count} {view} films, such as {films[view][1].name}; leave one of them, "
                "or give a folder of several patients by --dataset_dir"
            )
    return [films[view][0] for view in views]


def film_files(paths: FilePath | Sequence[FilePath], views: Sequence[View]) -> list[Path]:
    """List the files that the paths of one patient's films stand for.

    Args:
        paths: one path that holds the films of all views, or one for each view; folders are searched by
            `films_of_patient`.
        views: views that are needed, in order.

    Returns:
        The files in the order of the paths.

    Raises:
        InputError: as in `films_of_patient`.
    """
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    wanted = [views] if len(given) == 1 else [views[i : i + 1] or views[-1:] for i in range(len(given))]
    return [file for path, some in zip(given, wanted, strict=True) for file in films_of_patient(path, some)]


def _parted(file: Path) -> tuple[str, str]:
    """Return the name and the suffix of a file, in lower case."""
    name = file.name
    suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else file.suffix
    return name[: len(name) - len(suffix)], suffix.lower()
