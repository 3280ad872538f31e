"""Find the CTs below a folder, and the films of the same patients, whatever they are named."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from conventions import InputError
from readers import CT_SUFFIXES, DicomFilm, DicomSeries, find_dicom
from storage import digest_of, key_of

from ..split import case_of, patient_of
from .case import Source
from .film import FilmSource
from .hdf5 import HDF5_SUFFIXES, hdf5_source

SAME_NAME = "has the name of another CT; give one of the two another name"

LEAST_IMAGES = 10
"""Number of images below which a DICOM series is a scout, a dose sheet or a few key images, and no CT of a chest."""

PATIENT_TAGS = "dicom "
"""What the identifier of a patient begins with before it becomes a key, so that no file name gives the same key."""


@dataclass(frozen=True)
class Sources:
    """CTs and films of a source.

    Args:
        cts: the CTs by name of their case.
        films: films of patients whose CT is among them, by name.
        refused: what is refused already, (path, sentence).
        films_left_out: number of films of other patients.
    """

    cts: list[Source]
    films: list[FilmSource]
    refused: list[tuple[str, str]]
    films_left_out: int


def find_sources(source: str | os.PathLike[str], exclude: Path | None = None) -> Sources:
    """Find the CTs below a folder, and the films of the same patients.

    CTs are every series of DICOM CT images, and every NIfTI, MHA, MHD, NRRD and HDF5 file. DICOM files are recognised
    by content; CTs are grouped by their series, films belong to the patient by PatientID. Files of other modalities
    and other kinds are left out without a word, and so are scouts.

    Args:
        source: folder; pattern with * or **; or text file with one path in each line.
        exclude: folder below the source that is passed over: the cohort itself.

    Returns:
        What was found.

    Raises:
        InputError: where the source does not exist.
    """
    skipped = exclude.resolve() if exclude else None
    files = [file for file in _files(source) if skipped is None or skipped not in file.resolve().parents]
    single = [file for file in files if file.name.lower().endswith(CT_SUFFIXES)]
    hdf5 = [file for file in files if file.name.lower().endswith(HDF5_SUFFIXES)]
    dicom = find_dicom(file for file in files if not file.name.lower().endswith((*CT_SUFFIXES, *HDF5_SUFFIXES)))
    series = {_case(one): one for one in dicom.series if one.frames >= LEAST_IMAGES}
    found = [*map(_of_file, single), *map(hdf5_source, hdf5), *(_of_series(case, one) for case, one in series.items())]
    names = Counter(one.case for one in found)
    refused = [(str(one.path), SAME_NAME) for one in found if names[one.case] > 1]
    refused += [
        (str(folder), f"holds {count} CT images that state no series (SeriesInstanceUID); export them again")
        for folder, count in dicom.without_series.items()
    ]
    cts = sorted((one for one in found if names[one.case] == 1), key=lambda one: one.case)
    films, twice, left_out = _films(dicom.films, series)
    return Sources(cts, films, refused + twice, left_out)


def _case(series: DicomSeries) -> str:
    return f"ct_{key_of(series.uid)}"


def _of_series(case: str, series: DicomSeries) -> Source:
    patient, key = key_of(PATIENT_TAGS + series.patient), key_of(series.uid)
    return Source(case, patient, series.files[0], series.files, "dicom", key, series.manufacturer)


def _films(
    films: Iterable[DicomFilm], series: Mapping[str, DicomSeries]
) -> tuple[list[FilmSource], list[tuple[str, str]], int]:
    """Return the films of patients with a CT, each once; what is refused; and the number of other films."""
    found: dict[str, FilmSource] = {}
    refused: list[tuple[str, str]] = []
    left_out = 0
    for film in films:
        days = {case: _days(ct, film) for case, ct in sorted(series.items()) if ct.patient == film.patient}
        name = f"film_{key_of(film.uid or digest_of(film.file))}"
        if not film.patient or not days:
            left_out += 1
        elif name in found:
            refused.append((str(film.file), f"is the same film as {found[name].path.name}, and is left out"))
        else:
            found[name] = FilmSource(name, film.file, film.view, days)
    return sorted(found.values(), key=lambda one: one.name), refused, left_out


def _days(ct: DicomSeries, film: DicomFilm) -> int | None:
    return None if ct.date is None or film.date is None else (film.date - ct.date).days


def _files(source: str | os.PathLike[str]) -> list[Path]:
    """List the files of a source, hidden ones left out."""
    text = str(source)
    path = Path(text)
    if path.is_dir():
        return _below([path])
    if path.is_file() and path.suffix.lower() == ".txt":
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        listed = [path.parent / line for line in lines if line]
        missing = [file for file in listed if not file.exists()]
        if missing:
            raise InputError(f"{path}: lists {missing[0]}, which does not exist ({len(missing)} such lines)")
        return _below(listed)
    if path.is_file():
        return [path]
    matching = [Path(name) for name in sorted(glob.glob(text, recursive=True))]
    if not matching:
        raise InputError(f"{text}: there is no such folder, and no file fits it as a pattern; give a folder of CTs")
    return _below(matching)


def _below(paths: Iterable[Path]) -> list[Path]:
    """List visible files and those below visible folders, each once, in a fixed order."""
    every: set[Path] = set()
    for path in paths:
        if path.is_file():
            every.add(path)
        for folder, folders, names in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            every.update(Path(folder) / name for name in names if not name.startswith("."))
    return sorted(every)


def _of_file(file: Path) -> Source:
    """Describe a CT that is one file; an MHD file has its voxels beside it."""
    files = [file]
    if file.suffix.lower() == ".mhd":
        stated = re.search(r"^ElementDataFile\s*=\s*(.+?)\s*$", file.read_text(encoding="latin-1"), re.MULTILINE)
        files += [raw for raw in [file.parent / stated[1]] if raw.is_file()] if stated else []
    kind = file.name.lower().removeprefix(case_of(file.name).lower()).strip(".")
    return Source(case_of(file.name), key_of(patient_of(file.name)), file, tuple(files), kind)
