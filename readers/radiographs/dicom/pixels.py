"""Decode the stored pixels of a DICOM image and keep the bits that count."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import InputError

from ..stream import StreamFacts, stream_facts
from . import decode
from .bits import number_of_bits, numbers
from .checks import is_compressed, syntax
from .header import Header

pydicom, _ = optional_import("pydicom")

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"

INSTALL = "install python-gdcm (pip install python-gdcm)"

DECODERS = ("pydicom", "itk")
"""Decoders in the order in which they are tried, keys of `decode.DECODERS`."""

TIMEOUT_S = 120
"""Seconds after which decoding is given up."""


def stored_values(file: Path, header: Header) -> np.ndarray:
    """Decode the pixels and keep the stored bits, BitsStored up to HighBit.

    A compressed stream states its own number of bits, which counts instead. Where the number of bits is not that of the
    header, BitsStored and HighBit of the header are set to what was read.

    Args:
        file: named in errors.
        header: tags of the image, with the pixels in its dataset.

    Returns:
        (rows, columns), several frames one below the other; int32 or int64, sign extended where PixelRepresentation
        (0028,0103) says so.

    Raises:
        InputError: where pixels are cut off, damaged or in a transfer syntax that nothing installed decodes, or a
            compressed stream is not of one grey image of the size that the header states.
    """
    allocated, stored, shift = _depth(header)
    if is_compressed(header):
        facts = None if syntax(header) == RLE else stream_facts(header.dataset.PixelData)
        _check_stream(file, header, facts)
        values = _decompress(file, header, facts)
        if facts is not None:
            allocated, stored, shift = facts.bits, _of_stream(header, facts, stored), 0
    else:
        values = _native(file, header, allocated)
    words = (values.astype(np.int64) & 2**allocated - 1) >> shift
    bits = number_of_bits(header, words, stored, allocated - shift, shift)
    if bits != header.number("BitsStored"):
        header.dataset.BitsStored, header.dataset.HighBit = bits, bits - 1
    found = numbers(words, bits, header.number("PixelRepresentation") == 1)
    return found if allocated > 16 else found.astype(np.int32)


def _depth(header: Header) -> tuple[int, int, int]:
    """Return BitsAllocated, BitsStored and the number of bits below those stored."""
    allocated, stored, high = (int(header.number(k) or 0) for k in ("BitsAllocated", "BitsStored", "HighBit"))
    if header.number("HighBit") is None:
        high = stored - 1
        header.record.assumed("bits", f"HighBit is missing; the lowest {stored} bits are taken")
    shift = high - stored + 1
    if not 0 <= shift <= allocated - stored:
        header.record.doubt("bits", f"HighBit {high} is impossible with {stored} stored bits; the lowest are taken")
        shift = 0
    elif shift:
        header.record.doubt("bits", f"the stored bits end at bit {high}, not {stored - 1}; they are read from there")
    return allocated, stored, shift


def _check_stream(file: Path, header: Header, facts: StreamFacts | None) -> None:
    """Raise an `InputError` where a compressed stream is of another image than the header says."""
    if facts is None:
        return
    shape = tuple(int(header.number(keyword) or 0) for keyword in ("Rows", "Columns"))
    if facts.channels != 1:
        raise InputError(f"{file}: its {facts.name} stream has {facts.channels} channels, not grey; export it as grey")
    if facts.shape[0] and facts.shape != shape:  # JPEG may state the rows later
        (rows, columns), (there, across) = shape, facts.shape
        raise InputError(
            f"{file}: its {facts.name} stream has {there} x {across} pixels, its header says {rows} x {columns}; "
            "export it again"
        )


def _of_stream(header: Header, facts: StreamFacts, stored: int) -> int:
    """Return how many bits of a stream's samples are stored, by the stream and the header."""
    if facts.signed and header.number("PixelRepresentation") != 1:
        header.record.doubt("bits", f"the {facts.name} stream is signed, unlike the header; the stream is followed")
        header.dataset.PixelRepresentation = 1
    if facts.bits < stored:
        header.record.found("bits", f"the {facts.name} stream has {facts.bits} bits, not {stored} as the header says")
    return min(facts.bits, stored)


def _shape(header: Header) -> tuple[int, int]:
    """Return the rows of all frames, and the columns."""
    rows, columns, frames = (int(header.number(k) or 0) for k in ("Rows", "Columns", "NumberOfFrames"))
    return rows * max(frames, 1), columns


def _native(file: Path, header: Header, allocated: int) -> np.ndarray:
    rows, columns = _shape(header)
    data = header.dataset.PixelData
    needed = rows * columns * allocated // 8
    if len(data) < needed:
        raise InputError(
            f"{file}: is cut off (truncated): {len(data)} of {needed} bytes of pixels are there; export it again"
        )
    if len(data) - needed >= columns * allocated // 8:
        header.record.doubt("bits", f"{len(data)} bytes of pixels are there, {needed} are needed; the first are read")
    order = ">" if syntax(header) == BIG_ENDIAN else "<"
    if order == ">" and allocated == 8 and header.dataset["PixelData"].VR == "OW":
        # Bytes lie in 16-bit words, which big endian swaps.
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    return np.frombuffer(data, f"{order}u{allocated // 8}", rows * columns).reshape(rows, columns)


def _decompress(file: Path, header: Header, facts: StreamFacts | None) -> np.ndarray:
    """Decode in a child process, since damaged streams make some decoders abort."""
    uid = syntax(header)
    name = uid.name if uid.name != uid else "an unknown transfer syntax"
    rows, columns = _shape(header)
    if not header.dataset["PixelData"].is_undefined_length:
        raise InputError(f"{file}: its pixels cannot be decoded as {name}, they are plain; export it again")
    with tempfile.TemporaryDirectory() as folder:
        pixels, decoded = Path(folder) / "pixels.dcm", Path(folder) / "decoded.npy"
        _only_pixels(header.dataset, uid, facts).save_as(pixels)
        # -P: do not search the program's own folder, whose modules are named like others.
        command = [sys.executable, "-P", decode.__file__, str(pixels), str(decoded), *DECODERS]
        try:
            status = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S).returncode
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"{file}: decoding its pixels took more than {TIMEOUT_S} s; export it uncompressed, or try again"
            ) from error
        values = np.load(decoded) if status == 0 else np.empty(0)
    if status == decode.NO_DECODER:
        raise InputError(f"{file}: nothing here decodes {name}; {INSTALL}, or export it uncompressed")
    if values.size != rows * columns:
        raise InputError(
            f"{file}: its pixels cannot be decoded as {name}, they are damaged; export it again, or {INSTALL}"
        )
    return values.reshape(rows, columns)


def _only_pixels(dataset: Any, uid: Any, facts: StreamFacts | None) -> Any:
    """Return an instance of the pixels alone, MONOCHROME2 without rescale, since ITK inverts and rescales by itself.

    All bits are asked for: those that the stream states, or those of a word in RLE.
    """
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = "2.25.1"
    meta.TransferSyntaxUID = uid
    meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    bare = pydicom.dataset.FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=False)
    bare.SOPClassUID, bare.SOPInstanceUID = SECONDARY_CAPTURE, "2.25.1"
    bare.SamplesPerPixel, bare.PhotometricInterpretation = 1, "MONOCHROME2"
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored"):
        setattr(bare, keyword, int(dataset.get(keyword) or 0))
    if dataset.get("NumberOfFrames"):
        bare.NumberOfFrames = dataset.NumberOfFrames
    if facts is not None:
        bare.BitsAllocated, bare.BitsStored = 8 if facts.bits <= 8 else 16, facts.bits
    elif uid == RLE:
        bare.BitsStored = bare.BitsAllocated
    bare.PixelRepresentation = 0  # the sign is found afterwards
    bare.HighBit = bare.BitsStored - 1
    bare.PixelData = dataset.PixelData
    bare["PixelData"].VR = "OB"
    bare["PixelData"].is_undefined_length = True
    return bare
