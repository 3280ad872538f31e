"""Find which DICOM images of an archive form which CT series, and which are films."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from conventions import View

from .ct.dicom.files import read_tags
from .radiographs.dicom.header import PEOPLE, Header
from .radiographs.dicom.view import VIEW_TAGS, tagged_view
from .record import DecisionRecord

FILM_MODALITIES = ("CR", "DX", "DR", "RG")
"""Modalities (0008,0060) of films; fluoroscopy (RF) and angiography (XA) are not among them."""

SOP_INSTANCE, SERIES, PATIENT = 0x00080018, 0x0020000E, 0x00100020
"""Tags whose values are compared, and not written out: SOPInstanceUID, SeriesInstanceUID, PatientID."""

DATES = tuple(tag for tag in PEOPLE if tag.endswith("Date"))
"""Dates, in the order in which they are believed."""


@dataclass(frozen=True)
class DicomSeries:
    """CT images of one series. What identifies the patient is to be compared, and dropped.

    Args:
        uid: SeriesInstanceUID.
        patient: PatientID; empty where it is not stated.
        date: date of the study; None where it is not stated.
        files: its files, in the order in which they were given.
        frames: number of its images.
        manufacturer: Manufacturer (0008,0070) of the scanner; empty where it is not stated.
    """

    uid: str = field(repr=False)
    patient: str = field(repr=False)
    date: date | None = field(repr=False)
    files: tuple[Path, ...]
    frames: int
    manufacturer: str


@dataclass(frozen=True)
class DicomFilm:
    """Film, which may turn out to be unreadable. What identifies the patient is to be compared, and dropped.

    Args:
        uid: SOPInstanceUID; empty where it is not stated.
        patient: PatientID; empty where it is not stated.
        date: date of the study; None where it is not stated.
        file: its file.
        view: view that the tags state; None where they state none that a model reads.
    """

    uid: str = field(repr=False)
    patient: str = field(repr=False)
    date: date | None = field(repr=False)
    file: Path
    view: View | None


@dataclass(frozen=True)
class DicomCollection:
    """DICOM images of an archive.

    Args:
        series: CT series.
        films: films.
        without_series: folder -> number of CT images in it that state no series.
    """

    series: list[DicomSeries]
    films: list[DicomFilm]
    without_series: dict[Path, int]


def find_dicom(files: Iterable[Path]) -> DicomCollection:
    """Sort files by their tags: CT images into series, and films.

    Content alone decides, whatever the files are named; files without the preamble of DICOM are read too. Scouts,
    images of other modalities, objects without an image and all that is not DICOM are left out.

    Args:
        files: any files.

    Returns:
        Series and films, in the order of the files.

    Raises:
        InputError: where there is a DICOM file and pydicom is missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings repeat the values of tags
        return _find(files)


def _find(files: Iterable[Path]) -> DicomCollection:
    series: dict[str, DicomSeries] = {}
    films: list[DicomFilm] = []
    without: dict[Path, int] = {}
    for file in files:
        if not file.is_file():
            continue
        record = DecisionRecord(str(file), log=None)  # doubts are recorded when the image is read
        header, other = read_tags(file, record, (*PEOPLE, "SOPInstanceUID", "Manufacturer", *VIEW_TAGS))
        if header is None:
            continue
        uid, patient = header.element_text(SERIES), header.element_text(PATIENT)
        if not other and not uid:
            without[file.parent] = without.get(file.parent, 0) + 1
        elif not other:
            frames = int(header.number("NumberOfFrames") or 1)
            maker = header.text("Manufacturer")
            known = series.get(uid) or DicomSeries(uid, patient, _date(header), (), 0, maker)
            series[uid] = replace(known, files=(*known.files, file), frames=known.frames + frames)
        elif header.text("Modality") in FILM_MODALITIES:
            films.append(
                DicomFilm(header.element_text(SOP_INSTANCE), patient, _date(header), file, tagged_view(header))
            )
    return DicomCollection(list(series.values()), films, without)


def _date(header: Header) -> date | None:
    """Return the first date that is stated, None where there is none, or it is no date."""
    stated = next((text for keyword in DATES if (text := header.text(keyword))), "")
    try:
        return datetime.strptime(stated.replace(".", ""), "%Y%m%d").date()
    except ValueError:
        return None
