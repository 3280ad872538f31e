"""Find of which kind a TIFF file is, and read the kinds that Pillow cuts to 8 bits, misreads or does not know."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from monai.utils import optional_import

from conventions import InputError

from ..record import DecisionRecord

itk, has_itk = optional_import("itk")
tifffile, has_tifffile = optional_import("tifffile")

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE = 0, 1, 2, 3
"""Values of PhotometricInterpretation (262)."""

ALPHA = (1, 2)
"""Values of ExtraSamples (338) that stand for opacity; 0 is a channel of no stated meaning."""

MAX_PAGES = 1000
"""Number of pages after which counting ends."""

_INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Types of tags that hold whole numbers."""

_FORMATS = {1: "uint", 2: "int", 3: "float", 5: "complex int", 6: "complex"}
"""SampleFormat (339)."""

_CIELAB = 8

_COLOURS = {PALETTE: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", _CIELAB: "CIELab", 32803: "colour filter array"}
"""PhotometricInterpretation of images that are neither grey nor RGB."""

_COMPRESSIONS = {
    **{2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 6: "JPEG", 7: "JPEG", 8: "Deflate", 32773: "PackBits"},
    **{32946: "Deflate", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA"},
    **{50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL"},
}

_ITK_TYPES = {
    ("uint", 8): "unsigned_char",
    ("uint", 16): "unsigned_short",
    ("int", 16): "short",
    ("uint", 32): "unsigned_int",
    ("int", 32): "int",
    ("float", 32): "float",
}


_ITK_COMPRESSIONS = (1, 5, 8, 32773, 32946)
"""None, LZW, Deflate and PackBits."""

_TIFFFILE_COMPRESSIONS = (1, 8, 32946, 34925)
"""None, Deflate and LZMA; the others need imagecodecs."""


@dataclass(frozen=True)
class TiffKind:
    """What the tags of a TIFF file say about its first page.

    Args:
        pages: number of pages.
        shape: (rows, columns).
        numbers: "uint", "int", "float" or another kind of number.
        bits: bits of each channel.
        photometric: PhotometricInterpretation (262).
        extras: ExtraSamples (338), one for each channel beyond grey or colour.
        compression: Compression (259); 1 is none.
        planar: whether each channel is stored for itself.
        tiled: whether it is stored in tiles.
        orientation: Orientation (274), a key of `BY_ORIENTATION`.
        colours: ColorMap (320), (entries, 3) uint16; None where there is none.
        whole: whether all its pixels lie inside the file.
    """

    pages: int
    shape: tuple[int, int]
    numbers: str
    bits: tuple[int, ...]
    photometric: int
    extras: tuple[int, ...]
    compression: int
    planar: bool
    tiled: bool
    orientation: int
    colours: np.ndarray | None
    whole: bool

    @property
    def channels(self) -> int:
        """Number of channels."""
        return len(self.bits)

    @property
    def for_pillow(self) -> bool:
        """Whether Pillow keeps all bits of its samples, if it opens it."""
        if self.photometric == _CIELAB:
            return False
        if self.channels == 1:
            return (self.numbers, self.bits[0]) not in (("int", 8), ("uint", 32))
        return self.numbers == "uint" and max(self.bits) <= 8

    @property
    def dtype(self) -> np.dtype | None:
        """Type of a sample; None where numpy has none."""
        if self.numbers not in ("uint", "int", "float") or len(set(self.bits)) != 1:
            return None
        try:
            return np.dtype(f"{self.numbers}{self.bits[0]}")
        except TypeError:
            return None

    def __str__(self) -> str:
        bits = "/".join(str(bits) for bits in dict.fromkeys(self.bits))
        words = [f"TIFF of {self.numbers}{bits} samples"]
        if self.channels > 1:
            words.append(f"with {self.channels} channels")
        if self.photometric in _COLOURS:
            words.append(f"({_COLOURS[self.photometric]})")
        words += [word for word, said in (("in planes", self.planar), ("in tiles", self.tiled)) if said]
        if self.compression != 1:
            words.append(f"compressed by {_COMPRESSIONS.get(self.compression, f'method {self.compression}')}")
        return " ".join(words)


def tiff_kind(file: Path) -> TiffKind:
    """Read the tags of a TIFF file: classic or BigTIFF, in either byte order.

    Args:
        file: file whose first bytes are those of a TIFF file.

    Raises:
        InputError: where the tags are cut off or make no sense.
    """
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, 2)
            pages = list(_pages(stream, size))
        return _kind(pages, size)
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{file}: is cut off or damaged, not a whole TIFF file; export it again") from error


def _pages(stream: IO[bytes], size: int) -> Iterator[dict[int, tuple[int, ...]]]:
    """Yield the whole numbers among the tags of each page."""
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", head, 2)[0] == 43
    number, entry, offset = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    (place,) = struct.unpack_from(f"{order}{offset}", head, 8 if big else 4)
    seen: set[int] = set()
    while place and place not in seen and len(seen) < MAX_PAGES:
        seen.add(place)
        stream.seek(place)
        (count,) = struct.unpack(f"{order}{number}", stream.read(struct.calcsize(number)))
        width = struct.calcsize(f"={entry}{offset}")
        table = stream.read(count * width) if count * width <= size else b""
        (place,) = struct.unpack(f"{order}{offset}", stream.read(struct.calcsize(offset)))
        tags = {}
        for start in range(0, count * width, width):
            tag, kind, length = struct.unpack_from(f"{order}{entry}", table, start)
            form = _INTEGERS.get(kind)
            if form is None or not length:
                continue
            needed = length * struct.calcsize(form)
            inline = start + struct.calcsize(f"={entry}")
            if needed <= struct.calcsize(offset):
                data = table[inline : inline + needed]
            else:
                stream.seek(struct.unpack_from(f"{order}{offset}", table, inline)[0])
                data = stream.read(needed) if needed <= size else b""
            tags[tag] = struct.unpack(f"{order}{length}{form}", data)
        yield tags


def _kind(pages: list[dict[int, tuple[int, ...]]], size: int) -> TiffKind:
    tags = pages[0]

    def one(tag: int, usual: int) -> int:
        return tags.get(tag, (usual,))[0]

    channels = one(277, 1)
    bits = tags.get(258, (1,))
    formats = {_FORMATS.get(number, "uint") for number in tags.get(339, (1,))}
    photometric = one(262, BLACK_IS_ZERO)
    colours = np.array(tags[320], np.uint16).reshape(3, -1).T if photometric == PALETTE and 320 in tags else None
    starts = tags.get(324, ()) or tags.get(273, ())
    counts = tags.get(325, ()) or tags.get(279, ()) or (0,) * len(starts)
    own = 3 if photometric in (RGB, 6, _CIELAB) else 4 if photometric == 5 else 1
    return TiffKind(
        pages=len(pages),
        shape=(tags[257][0], tags[256][0]),
        numbers=formats.pop() if len(formats) == 1 else "mixed",
        bits=(bits * channels)[:channels] if len(bits) == 1 else bits[:channels],
        photometric=photometric,
        extras=tags.get(338, (0,) * (channels - own)),
        compression=one(259, 1),
        planar=one(284, 1) == 2 and channels > 1,
        tiled=324 in tags,
        orientation=one(274, 1),
        colours=colours,
        whole=all(start + count <= size for start, count in zip(starts, counts, strict=False)),
    )


def read_samples(file: Path, kind: TiffKind) -> np.ndarray:
    """Read the samples of a grey or RGB file as they are stored.

    ITK reads what is stored in strips and interleaved, tifffile the rest, as far as it is not compressed by a method
    that needs another package.

    Args:
        file: a TIFF file.
        kind: what its tags say.

    Returns:
        (rows, columns, channels) of the file's own type.

    Raises:
        InputError: where nothing that is installed reads this kind.
    """
    if kind.dtype is not None and kind.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
        for samples in (reader(file, kind) for reader in (_by_itk, _by_tifffile)):
            if samples is not None:
                return samples
    install = "" if kind.dtype is None or has_tifffile else ", or install tifffile (pip install tifffile)"
    raise InputError(f"{file}: is a {kind}, which is not read; export it as 16-bit grey{install}")


def _by_itk(file: Path, kind: TiffKind) -> np.ndarray | None:
    """Read with ITK; None for a kind that it misreads: planes, tiles, grey with a second channel."""
    component = _ITK_TYPES.get((kind.numbers, kind.bits[0]))
    if not has_itk or component is None or kind.planar or kind.tiled or kind.compression not in _ITK_COMPRESSIONS:
        return None
    probe = itk.TIFFImageIO.New(FileName=str(file))
    probe.ReadImageInformation()
    found = probe.GetComponentTypeAsString(probe.GetComponentType()), probe.GetNumberOfComponents()
    if found != (component, kind.channels):
        return None
    pixel = itk.D if component in ("int", "unsigned_int") else itk.F
    image = itk.ImageFileReader[itk.VectorImage[pixel, 2]].New(FileName=str(file), ImageIO=probe)
    image.Update()
    samples = itk.array_from_image(image.GetOutput()).reshape(*kind.shape, kind.channels)
    return samples.astype(kind.dtype)


def _by_tifffile(file: Path, kind: TiffKind) -> np.ndarray | None:
    """Read with tifffile; None where the compression needs a package that is missing."""
    if not has_tifffile:
        return None
    with tifffile.TiffFile(file) as opened:
        try:
            samples = opened.pages[0].asarray()
        except ValueError as error:
            if kind.compression in _TIFFFILE_COMPRESSIONS and "imagecodecs" not in str(error):
                raise
            return None
    samples = samples.reshape(kind.channels, *kind.shape) if kind.planar else samples
    return np.moveaxis(samples, 0, -1) if kind.planar else samples.reshape(*kind.shape, kind.channels)


def drop_extras(file: Path, samples: np.ndarray, kind: TiffKind, record: DecisionRecord) -> np.ndarray:
    """Leave out the channels whose meaning the file does not state.

    Args:
        file: named in the error.
        samples: (rows, columns, channels).
        kind: what the tags say.
        record: takes the doubt.

    Returns:
        (rows, columns, channels) of grey or RGB, with alpha where the file has it.

    Raises:
        InputError: where there are fewer channels than the colours need.
    """
    own = 3 if kind.photometric == RGB else 1
    if kind.channels < own:
        raise InputError(f"{file}: is a {kind}, which makes no colour; export it as 16-bit grey")
    kept = list(range(own))
    for place, meaning in enumerate(kind.extras, own):
        if meaning in ALPHA and len(kept) == own and place < kind.channels:
            kept.append(place)
    if kind.channels > len(kept):
        record.doubt("channels", f"{kind.channels - len(kept)} channel of unstated meaning is left out")
    return samples[..., kept]
