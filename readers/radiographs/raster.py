"""Read radiographs from PNG, JPEG and TIFF files with Pillow."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import MARK_KEY, InputError, Mark

from .computed import drr_mark
from .file_kind import MAX_PIXELS, FileKind
from .record import DecisionRecord

Image, has_pillow = optional_import("PIL.Image")
ImageOps, _ = optional_import("PIL.ImageOps")

COLOUR_TOLERANCE = {FileKind.PNG: 1, FileKind.TIFF: 1, FileKind.JPEG: 6}
"""Largest difference of the channels of a grey image, in grey levels of 255; JPEG rounds them."""

EXIF_ORIENTATION = 0x0112
TIFF_PHOTOMETRIC = 262
WHITE_IS_ZERO = 0


@dataclass
class Raster:
    """Content of a picture file.

    Args:
        values: (rows, columns) float32, bright = dense as far as the file says; in [0, 1] where `computed`.
        computed: mark of a DRR; None for any other picture.
    """

    values: np.ndarray
    computed: Mark | None


def read_raster(file: Path, kind: FileKind, record: DecisionRecord) -> Raster:
    """Read one grey picture.

    A resolution in the file (dots per inch) is that of a scan or a print and is not read.

    Args:
        file: a PNG, JPEG or TIFF file.
        kind: its format, as `find_kind` found it.
        record: takes the decisions.

    Returns:
        Its values, and the mark of a DRR.

    Raises:
        InputError: where it is damaged, too large, of several pages, coloured, transparent or of one bit.
    """
    if not has_pillow:
        raise InputError(f"{file}: reading {kind} needs the package pillow; install it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes and odd metadata; `_check` checks the size
            _check(file, kind)
            with Image.open(file, formats=[kind.value]) as image:
                image.load()
                computed = _computed(image, kind)
                values = _grey(file, kind, _upright(image, record), record)
                white_is_zero = kind is FileKind.TIFF and image.tag_v2.get(TIFF_PHOTOMETRIC) == WHITE_IS_ZERO
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{file}: claims far more pixels than a radiograph has; export it again") from error
    except Exception as error:  # Pillow's plugins raise whatever the broken bytes happen to cause
        raise InputError(f"{file}: is cut off or damaged, not a whole {kind} file; export it again") from error
    if computed is not None:
        return Raster(values / np.float32(255 if image.mode == "L" else 65535), computed)
    if white_is_zero and image.mode.startswith("I"):  # Pillow inverts these at 8 bit and not at 16
        record.changed("polarity", "inverted, since the TIFF file says that zero is white")
        values = -values
    return Raster(values, None)


def _check(file: Path, kind: FileKind) -> None:
    """Raise an `InputError` where the file holds no single image of sensible size, any error where a checksum fails."""
    with Image.open(file, formats=[kind.value]) as image:
        columns, rows = image.size
        if rows * columns > MAX_PIXELS:
            raise InputError(f"{file}: claims {rows} x {columns} pixels, far more than a radiograph; export it again")
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            raise InputError(f"{file}: holds {frames} pages or frames; save the one radiograph alone")
        if image.mode == "1":
            raise InputError(f"{file}: has one bit a pixel, which holds no radiograph; export 8- or 16-bit grey")
    with Image.open(file, formats=[kind.value]) as image:
        image.verify()


def _upright(image: Any, record: DecisionRecord) -> Any:
    if image.getexif().get(EXIF_ORIENTATION, 1) == 1:
        return image
    record.changed("orientation", "turned as the EXIF orientation says")
    return ImageOps.exif_transpose(image)


def _grey(file: Path, kind: FileKind, image: Any, record: DecisionRecord) -> np.ndarray:
    """Return (rows, columns) float32 in the file's own numbers."""
    if image.mode in ("L", "F") or image.mode.startswith("I"):
        values = np.asarray(image)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InputError(f"{file}: has pixels that are not numbers (NaN or infinite); export it again")
        _note_numbers(values, record)
        return values.astype(np.float32)
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    channels = np.asarray(image.convert("RGBA" if transparent else "RGB"))
    if transparent and channels[..., 3].min() < 255:
        raise InputError(f"{file}: is transparent in places; export it as opaque grey")
    colours = channels[..., :3]
    difference = int((colours.max(axis=2) - colours.min(axis=2)).max())
    if difference > COLOUR_TOLERANCE[kind]:
        raise InputError(f"{file}: is a colour image ({image.mode}), not a radiograph; export it as 8- or 16-bit grey")
    record.changed("channels", f"made grey from a {image.mode} image whose channels are equal")
    return colours.mean(axis=2, dtype=np.float32)


def _note_numbers(values: np.ndarray, record: DecisionRecord) -> None:
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        record.found("bits", f"floating-point values from {low:g} to {high:g}, scaled to [0, 1]")
    elif values.dtype.itemsize > 1:
        bits = int(high).bit_length()
        record.found("bits", f"{bits} of the {16 if bits <= 16 else 32} bits of a pixel are used")


def _computed(image: Any, kind: FileKind) -> Mark | None:
    """Return the mark of a DRR, which only grey PNG files carry."""
    if kind is not FileKind.PNG or image.mode not in ("L", "I", "I;16"):
        return None
    return drr_mark(getattr(image, "text", {}).get(MARK_KEY))
