"""Find the CTs below a folder, whatever they are named."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from monai.utils import optional_import

from conventions import InputError
from readers import CT_SUFFIXES
from storage import key_of

from ..split import case_of, patient_of
from .case import Source

pydicom, _ = optional_import("pydicom")

TAGS = ["Modality", "SeriesInstanceUID", "PatientID", "NumberOfFrames"]
"""Tags that say which series a file belongs to; none of them is written out."""

HDF5_SUFFIXES = (".h5", ".hdf5")
"""Suffixes of HDF5 files, in lower case. Those of the authors of X2CT-GAN hold voxels that were resampled and masked
already, with DRRs of them, and not their place in the patient: `cohort.cohort_from_hdf5` keeps them as they are, where
a preparation would resample them again and part them from their DRRs."""

HDF5_ELSEWHERE = (
    "is HDF5; the files of the authors of X2CT-GAN become a cohort by python -m cohort from-hdf5, which keeps their "
    "voxels and DRRs; leave others out"
)
"""Why HDF5 is refused."""

LEAST_IMAGES = 10
"""Number of images below which a DICOM series is a scout, a dose sheet or a few key images, and no CT of a chest."""

PATIENT_TAGS = "dicom "
"""What the identifier of a patient begins with before it becomes a key, so that no file name gives the same key."""


def find_sources(
    source: str | os.PathLike[str], exclude: Path | None = None
) -> tuple[list[Source], list[tuple[str, str]]]:
    """Find the CTs below a folder: every series of DICOM CT images, every NIfTI, MHA, MHD and NRRD file.

    DICOM files are recognised by content and grouped by their series. Files of other modalities and other kinds are
    left out without a word, and so are scouts; HDF5 files are refused.

    Args:
        source: folder; pattern with * or **; or text file with one path in each line.
        exclude: folder below the source that is passed over: the cohort itself.

    Returns:
        The CTs by name of their case, and what is refused already, (path, sentence).

    Raises:
        InputError: where the source does not exist.
    """
    skipped = exclude.resolve() if exclude else None
    files = [file for file in _files(source) if skipped is None or skipped not in file.resolve().parents]
    found: list[Source] = []
    refused: list[tuple[str, str]] = []
    series: dict[str, list[_Image]] = {}
    for file in files:
        if file.name.lower().endswith(CT_SUFFIXES):
            found.append(_of_file(file))
        elif file.name.lower().endswith(HDF5_SUFFIXES):
            refused.append((str(file), HDF5_ELSEWHERE))
        elif (image := _ct_image(file)) is not None:
            series.setdefault(image.series, []).append(image)
    for uid, images in series.items():
        if sum(image.frames for image in images) >= LEAST_IMAGES:
            key, members = key_of(uid), tuple(image.file for image in images)
            patient = key_of(PATIENT_TAGS + images[0].patient)
            found.append(Source(f"ct_{key}", patient, members[0], members, "dicom", key))
    names = Counter(one.case for one in found)
    refused += [
        (str(one.path), "has the name of another CT; give one of the two another name")
        for one in found
        if names[one.case] > 1
    ]
    return sorted((one for one in found if names[one.case] == 1), key=lambda one: one.case), refused


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


@dataclass(frozen=True)
class _Image:
    """A DICOM CT image, by tags that are compared and not written out."""

    file: Path
    series: str
    patient: str
    frames: int


def _ct_image(file: Path) -> _Image | None:
    """Return a DICOM CT image; None for any other file."""
    with open(file, "rb") as stream:
        if stream.seek(128) != 128 or stream.read(4) != b"DICM":
            return None
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
        frames = int(header.get("NumberOfFrames") or 1)
    except Exception:  # whatever broken bytes cause; a damaged file belongs to no series
        return None
    if header.get("Modality") != "CT" or not header.get("SeriesInstanceUID"):
        return None
    return _Image(file, str(header.SeriesInstanceUID), str(header.get("PatientID", "")), frames)
