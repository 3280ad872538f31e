"""Check the text header of an NRRD or MetaImage file before ITK reads it.

ITK allocates what a header claims, fills what is missing of the voxels, follows any path to them, and takes 1 mm for a
spacing that is not stated.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

import numpy as np

from conventions import InputError

from ..record import DecisionRecord
from .checks import check_size
from .file_kind import CTKind

MAX_HEADER = 2**16
"""Largest size of a text header in bytes."""

_BYTES = {
    **dict.fromkeys(("char", "signed char", "unsigned char", "uchar", "int8", "int8_t", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "signed short", "short int", "unsigned short", "ushort", "int16", "int16_t"), 2),
    **dict.fromkeys(("uint16", "uint16_t", "signed short int", "unsigned short int"), 2),
    **dict.fromkeys(
        ("int", "signed int", "unsigned int", "uint", "int32", "int32_t", "uint32", "uint32_t", "float"), 4
    ),
    **dict.fromkeys(("long long", "unsigned long long", "int64", "int64_t", "uint64", "uint64_t", "double"), 8),
    **dict.fromkeys(("met_char", "met_uchar"), 1),
    **dict.fromkeys(("met_short", "met_ushort"), 2),
    **dict.fromkeys(("met_int", "met_uint", "met_float"), 4),
    **dict.fromkeys(("met_long_long", "met_ulong_long", "met_double"), 8),
}
"""Type of a voxel, in lower case -> its bytes."""


def check_image_header(file: Path, kind: CTKind, record: DecisionRecord) -> None:
    """Refuse a header that does not describe one whole volume with its place in the patient.

    Args:
        file: NRRD or MetaImage.
        kind: which of the two.
        record: takes what is assumed.

    Raises:
        InputError: where sizes, type, geometry or voxels are missing, impossible or elsewhere.
    """
    with file.open("rb") as stream:
        text = stream.read(MAX_HEADER)
    fields, end = _fields(text, kind)
    size, kind_of_voxel = ("sizes", "type") if kind is CTKind.NRRD else ("dimsize", "elementtype")
    try:
        shape = tuple(int(word) for word in fields.get(size, "").split())
    except ValueError:
        shape = ()
    if not shape:
        raise InputError(f"{file}: its {kind} header states no size; export it again")
    check_size(file, shape)
    if fields.get(kind_of_voxel, "").lower() not in _BYTES:
        raise InputError(f"{file}: its {kind} header states no type of voxels that a CT has; export it again")
    (_check_nrrd if kind is CTKind.NRRD else _check_meta_image)(file, fields, record)
    needed = math.prod(shape) * _BYTES[fields[kind_of_voxel].lower()]
    data, packed = _data(file, fields, kind)
    start = end if data == file else 0
    there = _unpacked_size(data, start, needed) if packed else data.stat().st_size - start
    if there < needed:
        raise InputError(
            f"{file}: is cut off (truncated) or damaged: {there} bytes of voxels are there, {needed} are needed; "
            "export it again"
        )


def _fields(text: bytes, kind: CTKind) -> tuple[dict[str, str], int]:
    """Return the fields of a header, names in lower case, and where it ends in the file."""
    fields, end = {}, 0
    for line in text.splitlines(keepends=True):
        end += len(line)
        words = line.decode("latin-1").strip()
        if kind is CTKind.NRRD and not words:
            break
        name, found, value = words.partition(":" if kind is CTKind.NRRD else "=")
        if found and not words.startswith("#") and not value.startswith("="):  # := is a comment's value
            fields[name.strip().lower()] = value.strip()
        if kind is CTKind.META_IMAGE and name.strip().lower() == "elementdatafile":
            break
    return fields, end


def _check_nrrd(file: Path, fields: dict[str, str], _: DecisionRecord) -> None:
    """Raise an `InputError` where an NRRD header does not say how the volume lies in the patient."""
    directions = fields.get("space directions", "")
    vectors = re.findall(r"\(([^)]*)\)", directions)
    try:
        steps = np.array([[float(number) for number in vector.split(",")] for vector in vectors])
    except ValueError:
        steps = np.empty(0)
    if "space" not in fields or "none" in directions.lower() or steps.shape != (3, 3):
        raise InputError(
            f"{file}: its NRRD header does not say how the volume lies in the patient (space, space directions); "
            "export it with its geometry"
        )
    if not np.isfinite(steps).all() or not np.linalg.det(steps):
        raise InputError(f"{file}: its space directions {directions} are no usable axes; export it again")


def _check_meta_image(file: Path, fields: dict[str, str], record: DecisionRecord) -> None:
    """Raise an `InputError` where a MetaImage header states no spacing; axes that are not stated are assumed."""
    if not {"elementspacing", "elementsize"} & fields.keys():
        raise InputError(f"{file}: its MetaImage header states no ElementSpacing; export it with its spacing")
    if int(fields.get("elementnumberofchannels") or 1) != 1:
        raise InputError(f"{file}: holds several channels, not HU; export one grey volume")
    if not {"transformmatrix", "rotation", "orientation"} & fields.keys():
        record.assumed("orientation", "no axes are stated; to the patient's left, back and head is assumed")


def _data(file: Path, fields: dict[str, str], kind: CTKind) -> tuple[Path, bool]:
    """Return the file of the voxels, and whether they are packed."""
    name = fields.get("data file", fields.get("datafile")) if kind is CTKind.NRRD else fields.get("elementdatafile", "")
    packed = fields.get("encoding", "").lower() in ("gzip", "gz") or fields.get("compresseddata", "").lower() == "true"
    if name is None or name.upper() == "LOCAL":
        return file, packed
    if not name or name.upper().startswith("LIST") or "%" in name or len(name.split()) > 1:
        raise InputError(f"{file}: its voxels lie in several files; convert it to one file")
    if Path(name).name != name or "\\" in name or name in (".", ".."):
        raise InputError(
            f"{file}: its header points to voxels in another folder; put both into one folder, side by side"
        )
    if not (file.parent / name).is_file():
        raise InputError(f"{file}: the file of its voxels, {name}, is not there; put it into the same folder")
    return file.parent / name, packed


def _unpacked_size(file: Path, start: int, needed: int) -> int:
    """Return how many bytes a file holds from a place on, packed by gzip or zlib; no more than needed are unpacked.

    ITK leaves the memory as it was where packed voxels are damaged.
    """
    unpacker, size = zlib.decompressobj(wbits=47), 0
    with file.open("rb") as stream:
        stream.seek(start)
        while size < needed and (part := unpacker.unconsumed_tail or stream.read(2**20)):
            try:
                size += len(unpacker.decompress(part, 2**24))
            except zlib.error:
                break
    return size
