"""Find the DICOM files of a folder by their content and read their technical tags."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from conventions import InputError

from ...radiographs.dicom.header import OVERLAY_BITS, Header
from ...radiographs.file_kind import FileKind, content_kind
from ...record import DecisionRecord

pydicom, has_pydicom = optional_import("pydicom")
UID, _ = optional_import("pydicom.uid", name="UID")

TAGS = (
    *("SOPClassUID", "SeriesInstanceUID", "Modality", "ImageType"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
"""Tags that are read. SliceThickness, SpacingBetweenSlices, GantryDetectorTilt and InstanceNumber are not among them:
they contradict the positions in too many files."""

SCOUT = ("LOCALIZER", "SCOUT", "TOPOGRAM")
"""Words in ImageType (0008,0008) of the projection that a CT is planned on."""

NOT_DICOM, DAMAGED = "files that are not DICOM", "damaged DICOM files"

GREY = ("MONOCHROME1", "MONOCHROME2")

SECONDARY = ("SECONDARY CAPTURE", "MULTI-FRAME")
"""Words in the names of SOP classes that any image may have."""


@dataclass
class Found:
    """DICOM files of a folder.

    Args:
        cts: CT images with their technical tags, in the order of their names.
        others: what else there is, in words -> how many files.
    """

    cts: list[tuple[Path, Header]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def left_out(self) -> str:
        """Return in words what is not part of any CT, empty where there is nothing."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self.others.items()))


def find_files(path: Path, record: DecisionRecord, files: Sequence[Path] = ()) -> Found:
    """Read the tags of every CT image in a folder and below it, or of the files next to one file.

    Args:
        path: a folder or a DICOM file.
        record: takes doubts.
        files: files that are looked at instead, if there are any.

    Returns:
        The CT images, and what else there is.

    Raises:
        InputError: where pydicom is missing, or the file that is named is no image of a CT.
    """
    found = Found()
    for file in files or _files(path):
        header, other = read_tags(file, record)
        if other and file == path and not files:
            raise InputError(
                f"{path}: is no image of a CT, it belongs to: {other}; give a file of the CT, or its folder"
            )
        if other or header is None:
            found.others[other] += 1
            continue
        found.cts.append((file, header))
    return found


def read_tags(file: Path, record: DecisionRecord, more: Sequence[str] = ()) -> tuple[Header | None, str]:
    """Read the tags of a file, and say what it is.

    Args:
        file: any file.
        record: takes doubts about tags.
        more: tags that are read besides `TAGS`.

    Returns:
        Its tags, None where it is not DICOM, or damaged; and in words what it is instead of an image of a CT, empty
        for a CT.

    Raises:
        InputError: where the file is DICOM and pydicom is missing.
    """
    header = _header(file, record, more)
    return (None, header) if isinstance(header, str) else (header, _no_ct(header))


def _files(path: Path) -> Iterator[Path]:
    """Yield the files of a folder and of those below it in the order of their names, or those next to a file."""
    if path.is_file():
        yield path
        yield from sorted(file for file in path.parent.iterdir() if file.is_file() and file != path)
        return
    for folder, below, names in os.walk(path):
        below.sort()
        yield from (file for name in sorted(names) if (file := Path(folder) / name).is_file())


def _header(file: Path, record: DecisionRecord, more: Sequence[str]) -> Header | str:
    """Return the tags of a DICOM file, or in words what it is instead."""
    try:
        with file.open("rb") as stream:
            kind = content_kind(stream.read(1024))
    except OSError:
        return "files that cannot be opened"
    if kind not in (FileKind.DICOM, FileKind.DICOM_WITHOUT_PREAMBLE):
        return NOT_DICOM
    if not has_pydicom:
        raise InputError(f"{file}: reading DICOM needs the package pydicom; install it")
    tags = [*TAGS, *OVERLAY_BITS, *more]
    bare = kind is FileKind.DICOM_WITHOUT_PREAMBLE
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=bare, specific_tags=tags)
    except Exception:  # pydicom raises whatever the broken bytes happen to cause
        return NOT_DICOM if bare else DAMAGED
    if bare and "Rows" not in dataset:
        return NOT_DICOM
    return Header(dataset, record)


def _no_ct(header: Header) -> str:
    """Return in words what an object is instead of an image of a CT; empty for a CT."""
    uid: Any = header.dataset.get("SOPClassUID") or header.dataset.file_meta.get("MediaStorageSOPClassUID") or ""
    name = str(UID(str(uid)).name) if uid else ""
    modality = header.text("Modality")
    if name and "Image Storage" not in name and name != uid:
        return "DICOM objects without an image"
    if "Rows" not in header.dataset:
        return DAMAGED
    if modality not in ("CT", "") or (modality == "" and "CT Image" not in name):
        return f"images of the modality {modality if modality.isalnum() else 'unknown'}"
    if name and "CT Image" not in name and name != uid and not any(word in name.upper() for word in SECONDARY):
        return f"images of the class {name.partition(' Storage')[0]}"
    if any(word in SCOUT for word in header.words("ImageType")):
        return "scouts (localizers)"
    if (header.number("SamplesPerPixel") or 1) != 1 or header.text("PhotometricInterpretation") not in (*GREY, ""):
        return "colour images"
    return ""
