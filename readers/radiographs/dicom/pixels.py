"""Decode the stored pixels of a DICOM radiograph and keep the bits that count."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import InputError

from . import decode
from .checks import is_compressed, syntax
from .header import Header

pydicom, _ = optional_import("pydicom")

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"

INSTALL = "install python-gdcm (pip install python-gdcm)"

DECODERS = ("pydicom", "itk")
"""Decoders in the order in which they are tried, keys of `decode.DECODERS`."""

TIMEOUT_S = 60
"""Seconds after which decoding is given up."""


def stored_values(file: Path, header: Header) -> np.ndarray:
    """Decode the pixels and keep the stored bits, BitsStored up to HighBit.

    Args:
        file: named in errors.
        header: tags of the film, with the pixels in its dataset.

    Returns:
        (rows, columns) int32, sign extended where PixelRepresentation (0028,0103) says so.

    Raises:
        InputError: where pixels are cut off, damaged or in a transfer syntax that nothing installed decodes.
    """
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
    if is_compressed(header):
        values = _decompress(file, header)
        shift = 0 if syntax(header) != RLE else shift
    else:
        values = _native(file, header, allocated)
    bits = (values.astype(np.int64) if allocated > 16 else values.astype(np.int32)) >> shift
    bits &= 2**stored - 1
    if header.number("PixelRepresentation") == 1:
        bits = np.where(bits >= 2 ** (stored - 1), bits - 2**stored, bits)
    return bits


def _native(file: Path, header: Header, allocated: int) -> np.ndarray:
    rows, columns = (int(header.number(keyword) or 0) for keyword in ("Rows", "Columns"))
    data = header.dataset.PixelData
    needed = rows * columns * allocated // 8
    if len(data) < needed:
        raise InputError(
            f"{file}: is cut off (truncated): {len(data)} of {needed} bytes of pixels are there; export it again"
        )
    order = ">" if syntax(header) == BIG_ENDIAN else "<"
    if order == ">" and allocated == 8 and header.dataset["PixelData"].VR == "OW":
        # Bytes lie in 16-bit words, which big endian swaps.
        data = np.frombuffer(data[: len(data) // 2 * 2], ">u2").astype("<u2").tobytes()
    return np.frombuffer(data, f"{order}u{allocated // 8}", rows * columns).reshape(rows, columns)


def _decompress(file: Path, header: Header) -> np.ndarray:
    """Decode in a child process, since damaged streams make some decoders abort."""
    uid = syntax(header)
    name = uid.name if uid.name != uid else "an unknown transfer syntax"
    rows, columns = (int(header.number(keyword) or 0) for keyword in ("Rows", "Columns"))
    if not header.dataset["PixelData"].is_undefined_length:
        raise InputError(f"{file}: its pixels cannot be decoded as {name}, they are plain; export it again")
    with tempfile.TemporaryDirectory() as folder:
        pixels, decoded = Path(folder) / "pixels.dcm", Path(folder) / "decoded.npy"
        _only_pixels(header.dataset, uid).save_as(pixels)
        # -P: do not search the program's own folder, whose modules are named like others.
        command = [sys.executable, "-P", decode.__file__, str(pixels), str(decoded), *DECODERS]
        try:
            status = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S).returncode
        except subprocess.TimeoutExpired:
            status = 1
        values = np.load(decoded) if status == 0 else np.empty(0)
    if status == decode.NO_DECODER:
        raise InputError(f"{file}: nothing here decodes {name}; {INSTALL}, or export it uncompressed")
    if values.size != rows * columns:
        raise InputError(
            f"{file}: its pixels cannot be decoded as {name}, they are damaged; export it again, or {INSTALL}"
        )
    return values.reshape(rows, columns)


def _only_pixels(dataset: Any, uid: Any) -> Any:
    """Return an instance of the pixels alone, MONOCHROME2 without rescale, since ITK inverts and rescales by itself.

    RLE keeps the bits of a word as they are, so all of them are asked for; other syntaxes hold values.
    """
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = "2.25.1"
    meta.TransferSyntaxUID = uid
    meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    bare = pydicom.dataset.FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=False)
    bare.SOPClassUID, bare.SOPInstanceUID = SECONDARY_CAPTURE, "2.25.1"
    bare.SamplesPerPixel, bare.PhotometricInterpretation = 1, "MONOCHROME2"
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        setattr(bare, keyword, int(dataset.get(keyword) or 0))
    if uid == RLE:
        bare.BitsStored, bare.PixelRepresentation = bare.BitsAllocated, 0
    bare.HighBit = bare.BitsStored - 1
    bare.PixelData = dataset.PixelData
    bare["PixelData"].VR = "OB"
    bare["PixelData"].is_undefined_length = True
    return bare
