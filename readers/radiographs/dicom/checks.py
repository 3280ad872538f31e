"""Read the header of a DICOM file, and refuse a file that is not a radiograph."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

from monai.utils import optional_import

from conventions import MANUFACTURER, MARK_KEY, MARK_TAGS, InputError, Mark, MarkKind

from ...record import DecisionRecord
from ..computed import drr_mark
from ..file_kind import MAX_FILE_BYTES, MAX_PIXELS
from .header import MANUFACTURER_TAG, MARKS, OVERLAY_BITS, PEOPLE, PIXELS, SYNTHETIC_DATA, TECHNICAL, Header

pydicom, has_pydicom = optional_import("pydicom")
UID, _ = optional_import("pydicom.uid", name="UID")

XRAY = ("CR", "DX", "DR", "RG", "RF", "XA")
"""Modalities (0008,0060) of plain radiographs."""

OTHERS = (
    *("CT", "MR", "US", "MG", "NM", "PT", "PX", "IO", "OP", "ES", "GM", "SM", "BMD", "DG"),
    *("ECG", "SR", "PR", "KO", "DOC", "SEG", "REG", "RTIMAGE", "RTDOSE", "RTSTRUCT", "RTPLAN"),
)
"""Modalities that are named in the refusal; any other content of the tag is not repeated."""

UNSAID = ("", "OT", "SC", "XC")
"""Modalities that do not reveal how the image was made."""

GREY = ("MONOCHROME1", "MONOCHROME2")

DEFLATED = b"1.2.840.10008.1.2.1.99"
"""Transfer syntax of files that are deflated after the meta header."""


def checked_header(file: Path, record: DecisionRecord, *, without_preamble: bool) -> Header:
    """Read a file's technical tags and pixels, refusing all but one grey frame of sensible size and depth.

    Args:
        file: a DICOM file, with preamble or without.
        record: takes the decisions.
        without_preamble: whether to read a file without preamble.

    Returns:
        The tags. Those that identify are in its dataset until `take_keys` drops them.

    Raises:
        InputError: where the file is damaged, no image or not of one grey frame, or its tags contradict each other.
    """
    _check_deflated(file)
    header = Header(_parse(file, without_preamble, stop_before_pixels=True), record)
    _check_class(file, header)
    _check_image(file, header)
    _check_size(file, header)
    header.dataset = _parse(file, without_preamble, stop_before_pixels=False)
    if any(keyword in header.dataset for keyword in PIXELS[1:]):
        raise InputError(f"{file}: holds floating-point pixels, which are not read; export whole numbers")
    if not header.dataset.get("PixelData"):
        raise InputError(
            f"{file}: there is no image in this object; only a header was stored, or the file is cut off (truncated)"
        )
    return header


def _check_deflated(file: Path) -> None:
    """Raise an `InputError` if a deflated dataset is too large; pydicom would unpack all of it at once."""
    with file.open("rb") as stream:
        head = stream.read(2048)
        start = _meta_end(head)
        if head[128:132] != b"DICM" or DEFLATED not in head[132:start]:
            return
        stream.seek(start)
        unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while (part := unpacker.unconsumed_tail or stream.read(2**20)) and size <= MAX_FILE_BYTES:
            try:
                size += len(unpacker.decompress(part, 2**24))
            except zlib.error:
                return  # pydicom finds the file damaged
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"{file}: unpacks to more than {MAX_FILE_BYTES / 2**20:.0f} MiB, unlike any film; export it again"
        )


def _meta_end(head: bytes) -> int:
    """Return the end of group 2, which is always in explicit little endian (PS3.10 7.1)."""
    place = 132
    while head[place : place + 2] == b"\x02\0":
        long = head[place + 4 : place + 6] in (b"OB", b"UN", b"UT")
        begin, size = (place + 8, 4) if long else (place + 6, 2)
        place = begin + size + int.from_bytes(head[begin : begin + size], "little")
    return place


def _parse(file: Path, without_preamble: bool, *, stop_before_pixels: bool) -> Any:
    if not has_pydicom:
        raise InputError(f"{file}: reading DICOM needs the package pydicom; install it")
    tags = [*TECHNICAL, *OVERLAY_BITS, *PEOPLE, *MARKS, SYNTHETIC_DATA, *(() if stop_before_pixels else PIXELS)]
    try:
        return pydicom.dcmread(file, stop_before_pixels=stop_before_pixels, force=without_preamble, specific_tags=tags)
    except MemoryError:
        raise
    except Exception as error:  # pydicom raises whatever the broken bytes happen to cause
        raise InputError(f"{file}: its DICOM header is damaged or cut off (truncated); export it again") from error


def _check_class(file: Path, header: Header) -> None:
    """Raise an `InputError` where the class or the modality is not that of a radiograph."""
    meta = header.dataset.file_meta
    uid = str(header.dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    if uid:
        name = UID(uid).name
        if name == uid:
            header.record.doubt("class", "the SOP class is not a known one")
        elif "Image Storage" not in name:
            raise InputError(f"{file}: is a DICOM {name}, not an image; give the file of the radiograph")
    if computed(header) is not None:
        return
    modality = header.text("Modality")
    if modality in XRAY:
        header.record.found("modality", f"modality {modality}")
    elif modality in UNSAID:
        said = modality or "not stated"
        header.record.doubt("modality", f"the modality is {said}, so nothing says that this is a radiograph")
    else:
        known = modality if modality in OTHERS else "of an unknown kind"
        raise InputError(f"{file}: its modality is {known}, not a radiograph's ({', '.join(XRAY)}); give a chest film")


def computed(header: Header) -> Mark | None:
    """Return the mark of a DRR, None for any other image."""
    creator, mark = (header.element_text(tag) for tag in MARK_TAGS)
    if creator == MARK_KEY and (found := drr_mark(mark)):
        return found
    # Files of version 0.1, and files whose private elements were taken out. A synthetic CT is no DRR.
    ours = header.element_text(MANUFACTURER_TAG) == MANUFACTURER and header.element_text(SYNTHETIC_DATA) == "YES"
    if ours and header.text("Modality") != "CT":
        return Mark(kind=MarkKind.COMPUTED_RADIOGRAPH)
    return None


def _check_image(file: Path, header: Header) -> None:
    """Raise an `InputError` if the image is not one grey frame that can be decoded."""
    if not header.dataset.file_meta.get("TransferSyntaxUID"):
        if hasattr(header.dataset, "preamble") and header.dataset.preamble:
            raise InputError(f"{file}: names no transfer syntax (0002,0010); export it again")
        header.record.assumed("syntax", "without preamble nothing states the transfer syntax; little endian is assumed")
    samples, frames = header.number("SamplesPerPixel"), header.number("NumberOfFrames")
    photometric = header.text("PhotometricInterpretation")
    if frames is not None and frames > 1:
        raise InputError(f"{file}: holds {frames:g} frames (multi-frame), not one radiograph; export one frame")
    for keyword in ("Rows", "Columns"):
        value = header.number(keyword)
        if value is None:
            raise InputError(f"{file}: {keyword} is missing, so the image has no size; export it again")
        if value < 1:
            raise InputError(f"{file}: {keyword} is {value:g}, so there is no image; export it again")
    if not photometric:
        raise InputError(
            f"{file}: PhotometricInterpretation is missing, so black and white are not known; export it again"
        )
    if photometric not in GREY or (samples or 1) != 1:
        raise InputError(f"{file}: is a colour image, not a radiograph; export it as MONOCHROME2")


def _check_size(file: Path, header: Header) -> None:
    """Raise an `InputError` where size and depth are absurd or contradict each other."""
    rows, columns = (int(header.number(keyword) or 0) for keyword in ("Rows", "Columns"))
    if rows * columns > MAX_PIXELS:
        raise InputError(f"{file}: claims {rows} x {columns} pixels, far more than a radiograph; export it again")
    allocated, stored = header.number("BitsAllocated"), header.number("BitsStored")
    for keyword, value in (("BitsAllocated", allocated), ("BitsStored", stored)):
        if value is None:
            raise InputError(f"{file}: {keyword} is missing, so the pixels cannot be read; export it again")
    if allocated not in (8, 16, 32) or not 2 <= (stored or 0) <= allocated:
        raise InputError(
            f"{file}: BitsStored {stored:g} of BitsAllocated {allocated:g} is impossible; a radiograph has 8 to 16 bits"
        )


def syntax(header: Header) -> Any:
    """Return the transfer syntax as pydicom's UID; little endian where a file without preamble states none."""
    stated = header.dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        return UID(str(stated))
    return pydicom.uid.ImplicitVRLittleEndian


def is_compressed(header: Header) -> bool:
    """Return whether pixels are encapsulated."""
    uid = syntax(header)
    return not uid.is_transfer_syntax or uid.is_private or uid.is_compressed
