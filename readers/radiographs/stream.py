"""Read what a JPEG, JPEG-LS or JPEG 2000 stream says about its own image."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_FRAMES = {
    **dict.fromkeys((0xC0, 0xC1, 0xC2, 0xC5, 0xC6), "JPEG"),
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG"),
    **dict.fromkeys((0xC9, 0xCA, 0xCD, 0xCE), "JPEG with arithmetic coding"),
    0xF7: "JPEG-LS",
}
"""Second byte of a frame header (ISO 10918-1 table B.1, ISO 14495-1 C.1.1) -> what it begins."""

_ALONE = (0x01, *range(0xD0, 0xD9))
"""Second bytes of markers without a segment."""


@dataclass(frozen=True)
class StreamFacts:
    """What a compressed stream says about its image.

    Args:
        name: name of the compression.
        bits: bits of a sample.
        signed: whether samples are signed; None where the compression does not say.
        shape: (rows, columns).
        channels: samples per pixel.
    """

    name: str
    bits: int
    signed: bool | None
    shape: tuple[int, int]
    channels: int


def stream_facts(data: bytes) -> StreamFacts | None:
    """Find the header of a compressed image and read it.

    Args:
        data: stream, which may begin later, behind the items of a DICOM fragment.

    Returns:
        What it says; None where there is no such header, or not one of an image of 2 to 16 bits.
    """
    starts = [place for mark in (b"\xff\x4f\xff\x51", b"\xff\xd8\xff") if (place := data.find(mark)) >= 0]
    if not starts:
        return None
    place = min(starts)
    try:
        facts = _jpeg_2000(data, place) if data[place + 1] == 0x4F else _jpeg(data, place + 2)
    except (struct.error, IndexError):
        return None
    return facts if facts is not None and 2 <= facts.bits <= 16 and 1 <= facts.channels <= 4 else None


def _jpeg_2000(data: bytes, place: int) -> StreamFacts:
    """Read the segment SIZ, which follows the start of a codestream (ISO 15444-1 A.5.1)."""
    width, height, left, top = struct.unpack_from(">4I", data, place + 8)
    (channels,) = struct.unpack_from(">H", data, place + 40)
    depth = data[place + 42]
    return StreamFacts("JPEG 2000", (depth & 0x7F) + 1, bool(depth & 0x80), (height - top, width - left), channels)


def _jpeg(data: bytes, place: int) -> StreamFacts | None:
    """Go through the segments up to the frame header."""
    while data[place] == 0xFF:
        code = data[place + 1]
        if code == 0xFF:  # a fill byte
            place += 1
        elif code in _FRAMES:
            bits, rows, columns, channels = struct.unpack_from(">BHHB", data, place + 4)
            return StreamFacts(_FRAMES[code], bits, None, (rows, columns), channels)
        elif code in _ALONE:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return None
