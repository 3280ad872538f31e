"""Read radiographs from PNG, JPEG and TIFF files."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import MARK_KEY, InputError, Mark

from ..record import DecisionRecord
from .computed import drr_mark
from .file_kind import MAX_PIXELS, FileKind
from .stream import stream_facts
from .tiff import ALPHA, WHITE_IS_ZERO, TiffKind, drop_extras, read_samples, tiff_kind
from .turn import BY_ORIENTATION

Image, has_pillow = optional_import("PIL.Image")
itk, has_itk = optional_import("itk")

COLOUR_TOLERANCE = {FileKind.PNG: 1, FileKind.TIFF: 1, FileKind.JPEG: 6}
"""Largest difference of the channels of a grey image, in 255ths of its brightest sample; JPEG rounds them."""

ORIENTATION = 0x0112
"""Tag of the orientation in TIFF and Exif."""

PALETTE = "palette"

TURNED = "turned as the orientation in the file says"

PNG_CHANNELS = {2: "RGB", 4: "grey with alpha", 6: "RGBA"}
"""Colour type of a PNG file -> its channels; Pillow cuts these to 8 bits, grey alone it does not."""


@dataclass
class Raster:
    """Content of a picture file.

    Args:
        values: (rows, columns) float32, bright = dense as far as the file says; in [0, 1] where `computed`.
        computed: mark of a DRR; None for any other picture.
    """

    values: np.ndarray
    computed: Mark | None


@dataclass
class _Picture:
    """A picture as it is stored.

    Args:
        samples: (rows, columns, channels): grey, grey and alpha, RGB or RGBA.
        colours: what the channels are, for the record.
        white_is_zero: whether small samples are bright.
        orientation: key of `BY_ORIENTATION`.
        computed: mark of a DRR.
    """

    samples: np.ndarray
    colours: str
    white_is_zero: bool = False
    orientation: int = 1
    computed: Mark | None = None


def read_raster(file: Path, kind: FileKind, record: DecisionRecord) -> Raster:
    """Read one grey picture.

    All bits of a sample are kept. A resolution in the file (dots per inch) is that of a scan or a print and is not
    read.

    Args:
        file: a PNG, JPEG or TIFF file.
        kind: its format, as `find_kind` found it.
        record: takes the decisions.

    Returns:
        Its values, and the mark of a DRR.

    Raises:
        InputError: where it is damaged, too large, of several pages, coloured, transparent, of one bit, or of a kind
            that is not read.
    """
    if not has_pillow:
        raise InputError(f"{file}: reading {kind} needs the package pillow; install it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes and odd metadata, which are checked here
            picture = _tiff(file, record) if kind is FileKind.TIFF else _png_or_jpeg(file, kind)
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{file}: claims far more pixels than a radiograph has; export it again") from error
    except Exception as error:  # decoders raise whatever the broken bytes happen to cause
        raise InputError(_damage(file, kind)) from error
    values = _grey(file, kind, picture, record)
    if picture.orientation != 1:
        record.changed("orientation", TURNED)
        values = BY_ORIENTATION[picture.orientation](values)
    if picture.computed is not None:
        values /= 255 if picture.samples.dtype == np.uint8 else 65535
    elif picture.white_is_zero:
        record.changed("polarity", "inverted, since the TIFF file says that zero is white")
        values = values.max() - values
    elif picture.samples.dtype.itemsize > 2:
        values -= values.min()  # float32 holds 24 bits
    return Raster(np.ascontiguousarray(values, np.float32), picture.computed)


def _damage(file: Path, kind: FileKind) -> str:
    """Say why a file cannot be decoded."""
    facts = stream_facts(file.read_bytes()) if kind is FileKind.JPEG else None
    if facts is not None and (facts.name != "JPEG" or facts.bits != 8):
        return f"{file}: is {facts.name} of {facts.bits} bits, which is not read; export it as 16-bit grey PNG"
    return f"{file}: is cut off or damaged, not a whole {kind} file; export it again"


def _check(file: Path, shape: tuple[int, int], frames: int, one_bit: bool) -> None:
    """Raise an `InputError` where a file does not hold a single image of sensible size."""
    rows, columns = shape
    if rows * columns > MAX_PIXELS:
        raise InputError(f"{file}: claims {rows} x {columns} pixels, far more than a radiograph; export it again")
    if frames > 1:
        raise InputError(f"{file}: holds {frames} pages or frames; save the one radiograph alone")
    if one_bit:
        raise InputError(f"{file}: has one bit a pixel, which holds no radiograph; export 8- or 16-bit grey")


def _png_or_jpeg(file: Path, kind: FileKind) -> _Picture:
    with Image.open(file, formats=[kind.value]) as image:
        _check(file, image.size[::-1], getattr(image, "n_frames", 1), image.mode == "1")
    with Image.open(file, formats=[kind.value]) as image:
        image.verify()  # the checksums
    with Image.open(file, formats=[kind.value]) as image:
        image.load()
        orientation = image.getexif().get(ORIENTATION, 1)
        computed = _computed(image, kind)
        samples, colours = _samples(image)
    if kind is FileKind.PNG and (deep := _deep_channels(file)):
        samples, colours = _deep_png(file, deep), f"16-bit {deep}"
    return _Picture(
        samples, colours, orientation=orientation if orientation in BY_ORIENTATION else 1, computed=computed
    )


def _deep_channels(file: Path) -> str | None:
    """Return what the channels of a PNG file of 16-bit colours are, None for any other PNG file."""
    with file.open("rb") as stream:
        header = stream.read(26)
    return PNG_CHANNELS.get(header[25]) if header[24] == 16 else None


def _deep_png(file: Path, channels: str) -> np.ndarray:
    """Read 16-bit colours with ITK."""
    if not has_itk:
        raise InputError(f"{file}: reading 16-bit {channels} needs the package itk; install it, or export 16-bit grey")
    image = itk.ImageFileReader[itk.VectorImage[itk.F, 2]].New(FileName=str(file), ImageIO=itk.PNGImageIO.New())
    image.Update()
    return itk.array_from_image(image.GetOutput()).astype(np.uint16)


def _tiff(file: Path, record: DecisionRecord) -> _Picture:
    kind = tiff_kind(file)
    _check(file, kind.shape, kind.pages, kind.bits == (1,) and kind.numbers == "uint")
    if not kind.whole:
        raise InputError(f"{file}: is cut off, pixels are missing at its end; export it again")
    orientation = kind.orientation if kind.orientation in BY_ORIENTATION else 1
    picture = _tiff_by_pillow(file, kind, record) if kind.for_pillow else None
    if picture is not None:
        return picture
    samples = drop_extras(file, read_samples(file, kind), kind, record)
    colours = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGBA"}[samples.shape[-1]]
    return _Picture(samples, f"{kind.numbers}{kind.bits[0]} {colours}", kind.photometric == WHITE_IS_ZERO, orientation)


def _tiff_by_pillow(file: Path, kind: TiffKind, record: DecisionRecord) -> _Picture | None:
    """Read a kind of which Pillow keeps all bits; None for one that it does not know."""
    with file.open("rb") as stream:  # a path would be mapped into memory, and what is stored sideways scrambled
        try:
            image = Image.open(stream, formats=[FileKind.TIFF.value])
        except (Image.UnidentifiedImageError, KeyError):  # the latter for a compression that it does not know
            return None
        image.load()
        samples, colours = _samples(image)
        if image.mode == "P" and kind.colours is not None:
            samples, colours = kind.colours[np.asarray(image)], PALETTE
        left_to_turn = image.getexif().get(ORIENTATION, 1)  # Pillow turns some by itself
        white_is_zero = kind.photometric == WHITE_IS_ZERO
        if white_is_zero and image.mode == "L":  # and inverts 8 bits
            white_is_zero = False
            record.changed("polarity", "inverted, since the TIFF file says that zero is white")
    if left_to_turn != kind.orientation:
        record.changed("orientation", TURNED)
    if any(meaning not in ALPHA for meaning in kind.extras):
        record.doubt("channels", "a channel of unstated meaning is left out")
    return _Picture(samples, colours, white_is_zero, left_to_turn if left_to_turn in BY_ORIENTATION else 1)


def _samples(image: Any) -> tuple[np.ndarray, str]:
    """Return the samples of a Pillow image, (rows, columns, channels), and what its channels are."""
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        return np.asarray(image)[..., None], image.mode
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if transparent else "RGB")), image.mode


def _grey(file: Path, kind: FileKind, picture: _Picture, record: DecisionRecord) -> np.ndarray:
    """Return (rows, columns) in the file's own numbers, float64 where they have more than 16 bits."""
    samples = picture.samples
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise InputError(f"{file}: has pixels that are not numbers (NaN or infinite); export it again")
    channels = samples.shape[-1]
    if channels in (2, 4):
        alpha = samples[..., -1]
        if alpha.min() < alpha.max() or alpha.max() <= 0:
            raise InputError(f"{file}: is transparent in places; export it as opaque grey")
    colours = samples[..., : 3 if channels > 2 else 1]
    if picture.colours != PALETTE:
        _note_numbers(colours, record)
    if channels > 2:
        top = float(colours.max()) if samples.dtype.kind != "f" else float(np.ptp(colours))
        allowed = COLOUR_TOLERANCE[kind] * max(1.0 if samples.dtype.kind != "f" else 0.0, top / 255)
        if float((colours.max(axis=2).astype(float) - colours.min(axis=2)).max()) > allowed:
            raise InputError(
                f"{file}: is a colour image ({picture.colours}), not a radiograph; export it as 8- or 16-bit grey"
            )
    if channels > 1:
        record.changed("channels", f"made grey from a {picture.colours} image whose channels are equal")
    return colours.mean(axis=2, dtype=np.float64 if samples.dtype.itemsize > 2 else np.float32)


def _note_numbers(values: np.ndarray, record: DecisionRecord) -> None:
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        record.found("bits", f"floating-point values from {low:g} to {high:g}, scaled to [0, 1]")
    elif values.dtype.itemsize > 1:
        bits = max(int(high), -int(low) - 1).bit_length()
        size = next(size for size in (16, 32, 64) if bits <= size)
        record.found("bits", f"{bits} of the {size} bits of a pixel are used")


def _computed(image: Any, kind: FileKind) -> Mark | None:
    """Return the mark of a DRR, which only grey PNG files carry."""
    if kind is not FileKind.PNG or image.mode not in ("L", "I", "I;16"):
        return None
    return drr_mark(getattr(image, "text", {}).get(MARK_KEY))
