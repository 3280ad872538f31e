"""Read the stored values of frames, a few at a time, and rescale them to HU."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import
from scipy import ndimage

from conventions import HU_AIR, InputError

from ...radiographs.dicom.bits import numbers
from ...radiographs.dicom.checks import is_compressed, syntax
from ...radiographs.dicom.header import PIXELS, Header
from ...radiographs.dicom.pixels import stored_values
from ...radiographs.stream import StreamFacts, stream_facts
from ...record import DecisionRecord
from ..slices import SliceStack
from .frames import Frame

pydicom, _ = optional_import("pydicom")

PLAIN, COMPRESSED = 2, 32
"""Numbers of frames that are read at once. Two fit into a cache; starting a decoder takes as long as decoding ten."""

MAX_PADDING_HU = -900.0
"""HU up to which padding is air wherever it lies; denser values may belong to the patient, away from the edges."""

PIXEL_DATA = 0x7FE00010
"""Pixel Data."""

BITS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
"""Tags that say how a value is stored."""


@dataclass(frozen=True, eq=False)
class _Loaded:
    """Bytes of one frame, as the file holds them."""

    frame: Frame
    data: bytes
    pixels: Any
    facts: StreamFacts | None

    @property
    def coding(self) -> tuple[Any, ...]:
        """How the bytes are stored; frames of the same coding are decoded together."""
        header = self.frame.header
        stored = (header.number(keyword) for keyword in BITS)
        return (is_compressed(header), syntax(header), self.facts, self.pixels.VR, *stored)


def read_voxels(frames: Sequence[Frame], record: DecisionRecord) -> np.ndarray:
    """Read the HU of frames that have the same size.

    Args:
        frames: in the order of the slices.
        record: takes the decisions.

    Returns:
        (X, Y, Z) HU, int16 where that holds them exactly, else float32; X runs along the rows of a slice and Y along
        its columns. Padding that the tags state is air.

    Raises:
        InputError: where pixels are missing, cut off, damaged or of no known syntax, or a rescale slope is 0.
    """
    _check_bits(frames)
    _check_rescale(frames, record)
    rows, columns = frames[0].shape
    stack, padded = SliceStack((len(frames), rows, columns)), 0
    for (compressed, *_), coded in groupby(_load(frames), key=lambda loaded: loaded.coding):
        size = COMPRESSED if compressed else PLAIN
        while batch := list(islice(coded, size)):
            noted = any(decision.subject == "bits" for decision in record.decisions)
            bits_record = DecisionRecord(log=None) if noted else record  # one batch says what all would say
            stored = _stored(batch, bits_record).reshape(len(batch), rows, columns)
            for one, values in zip(batch, stored, strict=True):
                frame = one.frame
                hu = values * np.float32(_slope(frame)) + np.float32(frame.intercept or 0)
                padded += _clear_padding(frame.header, values, hu)
                stack.add(hu)
    volume = stack.volume()
    if padded:
        record.changed("padding", f"{padded / volume.size:.1%} of the voxels are padding by the tags and become air")
    return volume


def same_pixels(frames: Sequence[Frame]) -> bool:
    """Return whether frames hold the same bytes and the same rescale."""
    first, *others = ((loaded.data, _slope(loaded.frame), loaded.frame.intercept) for loaded in _load(frames))
    return all(other == first for other in others)


def _slope(frame: Frame) -> float:
    return 1.0 if frame.slope is None else frame.slope


def _check_bits(frames: Sequence[Frame]) -> None:
    """Refuse values that are stored in an impossible way."""
    for frame in frames:
        allocated, stored = (frame.header.number(keyword) for keyword in ("BitsAllocated", "BitsStored"))
        if allocated not in (8, 16, 32) or stored is None or not 2 <= stored <= allocated:
            said = ", ".join(
                f"{name} {'missing' if n is None else format(n, 'g')}"
                for name, n in zip(("BitsAllocated", "BitsStored"), (allocated, stored), strict=True)
            )
            raise InputError(f"{frame.file}: {said} is impossible, a CT has 8 to 16 bits; export it again")


def _check_rescale(frames: Sequence[Frame], record: DecisionRecord) -> None:
    """Refuse a slope of 0 and look-up tables, and note a rescale that is missing or is not to HU."""
    for frame in frames:
        if frame.slope == 0:
            raise InputError(f"{frame.file}: RescaleSlope is 0, so all values are the same; export it again")
        if frame.header.items("ModalityLUTSequence"):
            raise InputError(
                f"{frame.file}: has a modality look-up table instead of HU; export it with its rescale slope"
            )
    if any(frame.slope is None or frame.intercept is None for frame in frames):
        record.assumed("rescale", "slope or intercept are not stated; 1 and 0 are assumed")
    units = {unit for frame in frames if (unit := frame.header.text("RescaleType"))} - {"HU", "US"}
    if units:
        record.doubt("rescale", "RescaleType says that the values are not HU")


def _load(frames: Sequence[Frame]) -> Iterator[_Loaded]:
    """Yield the bytes of frames in order, reading each file once where its frames follow each other."""
    file, parts, element = None, [], None
    for frame in frames:
        if frame.file != file:
            file, element = frame.file, _pixel_data(frame.file)
            parts = _encapsulated(frame, element) if is_compressed(frame.header) else []
        if parts:
            if frame.number >= len(parts):
                raise InputError(f"{file}: is cut off (truncated): {len(parts)} frames are there; export it again")
            data = parts[frame.number]
            yield _Loaded(frame, data, element, stream_facts(data))
        else:
            yield _Loaded(frame, _native(frame, element), element, None)


def _pixel_data(file: Path) -> Any:
    """Return the pixels of a file as its data element."""
    try:
        dataset = pydicom.dcmread(file, force=True, specific_tags=list(PIXELS))
        element = dataset.get(PIXEL_DATA)
    except Exception as error:  # pydicom raises whatever the broken bytes happen to cause
        raise InputError(f"{file}: is damaged or cut off (truncated); export it again") from error
    if any(keyword in dataset for keyword in PIXELS[1:]):
        raise InputError(f"{file}: holds floating-point pixels, which are not read; export whole numbers")
    if element is None or not element.value:
        raise InputError(f"{file}: holds a header without pixels, or is cut off (truncated); export it again")
    return element


def _native(frame: Frame, element: Any) -> bytes:
    """Return the bytes of a frame that is not compressed."""
    size = math.prod(frame.shape) * int(frame.header.number("BitsAllocated") or 0) // 8
    data = element.value[frame.number * size : (frame.number + 1) * size]
    if len(data) < size:
        raise InputError(
            f"{frame.file}: is cut off (truncated): {len(data)} of {size} bytes of pixels are there; export it again"
        )
    return data


def _encapsulated(frame: Frame, element: Any) -> list[bytes]:
    """Return the compressed frames of a file."""
    count = int(frame.header.number("NumberOfFrames") or 1)
    try:
        if hasattr(pydicom.encaps, "generate_frames"):  # pydicom 3
            return list(pydicom.encaps.generate_frames(element.value, number_of_frames=count))
        return list(pydicom.encaps.generate_pixel_data_frame(element.value, count))
    except Exception as error:  # pydicom raises whatever the broken bytes happen to cause
        raise InputError(f"{frame.file}: its compressed pixels are damaged or cut off; export it again") from error


def _stored(batch: Sequence[_Loaded], record: DecisionRecord) -> np.ndarray:
    """Decode frames of the same coding as one image: (frames * rows, columns)."""
    first = batch[0]
    dataset = pydicom.dataset.Dataset()
    dataset.file_meta = first.frame.header.dataset.file_meta
    for element in first.frame.header.dataset:
        if element.VR != "SQ":
            dataset[element.tag] = element
    dataset.NumberOfFrames = len(batch)
    compressed = is_compressed(first.frame.header)
    parts = [one.data for one in batch]
    dataset.add_new("PixelData", first.pixels.VR, pydicom.encaps.encapsulate(parts) if compressed else b"".join(parts))
    dataset["PixelData"].is_undefined_length = first.pixels.is_undefined_length
    return stored_values(first.frame.file, Header(dataset, record))


def _clear_padding(header: Header, values: np.ndarray, hu: np.ndarray) -> int:
    """Make air of the padding that the tags state, in one slice, and return the number of pixels.

    Padding that would be tissue counts where it is connected to the edge of the slice; elsewhere the value is the
    patient's.
    """
    padding, limit = header.number("PixelPaddingValue"), header.number("PixelPaddingRangeLimit")
    if padding is None:
        return 0
    stated = int(padding), int(padding if limit is None else limit)
    bits, signed = int(header.number("BitsStored") or 16), header.number("PixelRepresentation") == 1
    padded = np.zeros(values.shape, bool)
    for ends in (stated, numbers(np.array(stated), bits, signed)):  # the tag may have another sign, or more bits
        padded |= (values >= min(ends)) & (values <= max(ends))
    if not padded.any():
        return 0
    if hu[padded].max() > MAX_PADDING_HU:
        edge = np.ones_like(padded)
        edge[1:-1, 1:-1] = False
        padded = ndimage.binary_propagation(edge & padded, mask=padded)
    hu[padded] = HU_AIR
    return int(padded.sum())
