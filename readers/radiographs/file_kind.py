"""Find the format of a radiograph file from its content."""

from __future__ import annotations

import os
import stat
import zlib
from enum import StrEnum
from pathlib import Path

from conventions import InputError

from ..record import DecisionRecord

MAX_FILE_BYTES = 2**29
"""Size in bytes of the largest file that is read as a radiograph."""

MAX_PIXELS = 100_000_000
"""Largest number of pixels that is read; the largest detectors have 20 million."""

ADVICE = "give DICOM, PNG, JPEG, TIFF or NIfTI"


class FileKind(StrEnum):
    """Formats that radiographs are read from."""

    DICOM = "DICOM"
    DICOM_WITHOUT_PREAMBLE = "DICOM without preamble"
    PNG = "PNG"
    JPEG = "JPEG"
    TIFF = "TIFF"
    NIFTI = "NIfTI"


_KINDS = {
    ".dcm": FileKind.DICOM,
    ".dicom": FileKind.DICOM,
    ".ima": FileKind.DICOM,
    ".png": FileKind.PNG,
    ".jpg": FileKind.JPEG,
    ".jpeg": FileKind.JPEG,
    ".tif": FileKind.TIFF,
    ".tiff": FileKind.TIFF,
    ".nii": FileKind.NIFTI,
    ".nii.gz": FileKind.NIFTI,
}

RADIOGRAPH_SUFFIXES = tuple(_KINDS)
"""Suffixes of radiograph files, in lower case; DICOM files may have none."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", FileKind.PNG),
    (b"\xff\xd8\xff", FileKind.JPEG),
    (b"II*\0", FileKind.TIFF),
    (b"MM\0*", FileKind.TIFF),
    (b"II+\0", FileKind.TIFF),
    (b"MM\0+", FileKind.TIFF),
)

_OTHERS = (
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"NRRD", "NRRD"),
    (b"ObjectType", "MetaImage"),
    (b"\x93NUMPY", "numpy"),
    (b"7z\xbc\xaf", "7-Zip"),
)
"""Formats that are named in the refusal."""


def find_kind(path: str | os.PathLike[str], record: DecisionRecord) -> FileKind:
    """Find a file's format from its first bytes, whatever its name.

    Args:
        path: a regular file, or a link to one.
        record: takes the decision where name and content differ.

    Returns:
        The format.

    Raises:
        InputError: where there is no such file, it is a folder, a pipe, empty, too large, not readable, or of another
            format.
    """
    file = Path(path)
    head = _head(file)
    kind = content_kind(head)
    name = file.name.lower()
    suffix = ".nii.gz" if name.endswith(".nii.gz") else file.suffix.lower()
    named = _KINDS.get(suffix)
    if kind is None:
        raise InputError(f"{file}: is {describe_content(head)}, not a radiograph; {ADVICE}")
    if kind is FileKind.NIFTI and named is not FileKind.NIFTI:
        raise InputError(
            f"{file}: is a NIfTI file by its content; name it .nii or .nii.gz, or give the radiograph itself"
        )
    if named is not None and not kind.startswith(named):
        record.found("format", f"the file is {kind} by its content, though its name ends in {suffix}")
    return kind


def _head(file: Path) -> bytes:
    """Return the first bytes of a regular file of sensible size."""
    try:
        status = os.stat(file)  # before opening, which would wait for a pipe
    except FileNotFoundError as error:
        what = "a link to a file that is not there" if file.is_symlink() else "there is no such file"
        raise InputError(f"{file}: {what}; give a radiograph for each view") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no usable path"
        raise InputError(f"{str(file)!r}: cannot be looked up ({reason}); give the path of a radiograph") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{file}: is a folder; give the file of the radiograph in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{file}: is a pipe or a device, not a regular file; copy the radiograph to a file")
    if status.st_size == 0:
        raise InputError(f"{file}: is an empty file; export the radiograph again")
    if status.st_size > MAX_FILE_BYTES:
        raise InputError(f"{file}: has {status.st_size / 2**20:.0f} MiB, more than any radiograph; {ADVICE}")
    try:
        with file.open("rb") as stream:
            return stream.read(1024)
    except OSError as error:
        raise InputError(f"{file}: cannot be opened ({error.strerror}); make it readable or copy it") from error


def content_kind(head: bytes) -> FileKind | None:
    """Return the format of a file that begins with these bytes (1024 are enough), None for any other."""
    if head[128:132] == b"DICM":
        return FileKind.DICOM
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if _is_nifti(head) or (head.startswith(b"\x1f\x8b") and _is_nifti(_unzipped(head))):
        return FileKind.NIFTI
    # An element of group 2 or 8 in little endian: explicit with two capitals as VR, or implicit with a short length.
    if head[:2] in (b"\x02\0", b"\x08\0") and len(head) >= 8:
        explicit = head[4:6].isalpha() and head[4:6].isupper()
        if explicit or int.from_bytes(head[4:8], "little") < 256:
            return FileKind.DICOM_WITHOUT_PREAMBLE
    return None


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def _unzipped(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, 1024)
    except zlib.error:
        return b""


def describe_content(head: bytes) -> str:
    """Return words for a file that begins with these bytes and is of no format that is read."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP file"
    for signature, name in _OTHERS:
        if head.startswith(signature):
            return f"a {name} file"
    if head.startswith(b"\x1f\x8b"):
        return "a gzip file without NIfTI in it"
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return "a text file"
    return "a file of an unknown format"
