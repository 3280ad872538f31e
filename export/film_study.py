"""Read which patient and study DICOM films belong to, for the image that is computed from them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from conventions import InputError
from readers import FileKind, content_kind

from .dicom_file import PATIENT_AND_STUDY, check_pydicom

pydicom, _ = optional_import("pydicom")

COPIED = (*PATIENT_AND_STUDY, "StudyInstanceUID", "IssuerOfPatientID", "PatientAge", "StudyDescription")
"""Tags of a film that the derived image shares with it; nothing else of a film's patient and study is written."""

LOSSY = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")
"""Tags of a lossy compression, which an image derived from a lossy one states too (PS3.3 C.7.6.1.1.5)."""

_CHARACTERS = "SpecificCharacterSet"

_OWN = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "LossyImageCompression")

_IDENTITY = ("PatientID", "IssuerOfPatientID", "PatientBirthDate")
"""Tags that are equal where two films are of one patient; a tag that one of them lacks says nothing."""


@dataclass(frozen=True)
class FilmStudy:
    """Patient and study that the films of a case share, and which images the films are.

    Args:
        shared: keyword -> value of the tags in `COPIED`, where a film states them, and their character set.
        films: SOP class UID, SOP instance UID and series UID of each film.
        lossy: keyword -> value of the tags in `LOSSY` where a film was compressed with loss; None where none was.
    """

    shared: dict[str, str]
    films: tuple[tuple[str, str, str], ...]
    lossy: dict[str, Any] | None


def read_film_study(files: Sequence[str | os.PathLike[str]]) -> FilmStudy | None:
    """Read patient and study of the films of one case, after checking that they share both.

    Args:
        files: one or more films.

    Returns:
        Patient and study; None where no film is DICOM, so that neither is known.

    Raises:
        InputError: where films are of different patients or studies, some are DICOM and others are not, or a film
            lacks the UIDs that name it. No value of a tag is in the message.
    """
    paths = [Path(file) for file in files]
    kinds = [_kind(path) for path in paths]
    dicom = [kind in (FileKind.DICOM, FileKind.DICOM_WITHOUT_PREAMBLE) for kind in kinds]
    if not any(dicom):
        return None
    names = " and ".join(map(str, paths))
    if not all(dicom):
        raise InputError(
            f"{names}: one film is DICOM and one is not, so nothing says that they are of one patient; "
            "give both as DICOM, or both as pictures"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings repeat the values of tags
        tags = [_tags(path, kind is FileKind.DICOM_WITHOUT_PREAMBLE) for path, kind in zip(paths, kinds, strict=True)]
    for one, other in pairwise(tags):
        _check_same(names, one, other)
    shared = {keyword: value for of_film in reversed(tags) for keyword in COPIED if (value := of_film[keyword])}
    characters = {film[_CHARACTERS] for film in tags}
    if len(characters) == 1 and "" not in characters:
        shared[_CHARACTERS] = characters.pop()
    lossy = next((film for film in tags if film["LossyImageCompression"] == "01"), None)
    return FilmStudy(
        shared,
        tuple((film["SOPClassUID"], film["SOPInstanceUID"], film["SeriesInstanceUID"]) for film in tags),
        None if lossy is None else {keyword: lossy[keyword] for keyword in LOSSY if lossy[keyword]},
    )


def _kind(path: Path) -> FileKind | None:
    try:
        with path.open("rb") as stream:
            return content_kind(stream.read(1024))
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); give the films of the CT") from error


def _tags(path: Path, force: bool) -> dict[str, Any]:
    """Return the tags of a film that are looked at, as text, empty where they are missing."""
    check_pydicom(path)
    wanted = [_CHARACTERS, *_OWN, *COPIED, *LOSSY]
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=force, specific_tags=wanted)
        tags: dict[str, Any] = {keyword: _text(dataset.get(keyword)) for keyword in wanted}
    except Exception as error:  # pydicom raises whatever the broken bytes happen to cause
        raise InputError(f"{path}: its DICOM header is damaged or cut off (truncated); export it again") from error
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not tags[keyword]:
            raise InputError(f"{path}: {keyword} is missing, so a CT cannot refer to this film; export it again")
    return tags


def _text(value: Any) -> str:
    """Return a value as text, the parts of one of several values parted by backslashes."""
    if value is None:
        return ""
    if isinstance(value, pydicom.multival.MultiValue):
        return "\\".join(map(str, value))
    return str(value).strip()


def _check_same(names: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Refuse two films of different patients or studies."""
    different = [tag for tag in _IDENTITY if one[tag] and other[tag] and one[tag] != other[tag]]
    people = [_letters(film["PatientName"]) for film in (one, other)]
    if different or (all(people) and people[0] != people[1]):
        raise InputError(
            f"{names}: are of different patients by their {(different or ['PatientName'])[0]}; "
            "give both films of one patient"
        )
    if one["StudyInstanceUID"] != other["StudyInstanceUID"]:
        raise InputError(f"{names}: are of different studies (StudyInstanceUID); give both films of one study")


def _letters(name: str) -> str:
    """Return the words of a person's name without case, order of parts kept."""
    return " ".join(name.replace("^", " ").replace("=", " ").casefold().split())
