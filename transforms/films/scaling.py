"""Values to [0, 1], frames cropped, pixels square."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from conventions import InputError

from .record import DecisionRecord

PERCENTILES = (0.5, 99.5)
"""Of the valid pixels; they become 0 and 1."""

MIN_SIDE = 64
MAX_ASPECT = 3.0

SQUARE_TOLERANCE = 1e-3
"""Relative difference of row and column spacing that is left alone."""

FRAME_TOLERANCE = 0.05
FRAME_SHARE = 0.95
"""A line of a frame is white or black within the tolerance over this share of its length."""

FRAME_STEP = 0.1
"""Mean difference, of the range, between a frame and the film inside it; anatomy and air fade instead."""

STEP_DEPTH = 3
"""Lines over which a scanned edge may be blurred."""

LEAST_KEPT = 0.6
"""Share of the area that cropping leaves at least."""


def check_size(file: Path, shape: tuple[int, ...]) -> None:
    """Raise an `InputError` where an image is too small or too narrow for a film of the chest.

    Args:
        file: named in the error.
        shape: (rows, columns).
    """
    rows, columns = shape
    if min(shape) < MIN_SIDE:
        raise InputError(f"{file}: has {rows} x {columns} pixels, less than {MIN_SIDE} a side; export it in full size")
    if max(shape) > MAX_ASPECT * min(shape):
        raise InputError(
            f"{file}: has {rows} x {columns} pixels, longer than {MAX_ASPECT:g} times its width; give one film alone"
        )


def to_unit(file: Path, values: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Scale robustly to [0, 1].

    Args:
        file: named in errors.
        values: (rows, columns) float32.
        valid: (rows, columns), false where no patient can be; there the result is 0. None is valid everywhere.

    Returns:
        (rows, columns) float32, the 0.5 and 99.5 percentiles of the valid pixels at 0 and 1, clipped.

    Raises:
        InputError: where (nearly) all valid pixels have one value.
    """
    inside = values if valid is None else values[valid]
    low, high = np.percentile(inside, PERCENTILES)
    if not high > low:
        raise InputError(f"{file}: is constant, there is no content in it; export the radiograph again")
    unit = ((values - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    if valid is not None:
        unit[~valid] = 0
    return unit


def crop_to(values: np.ndarray, valid: np.ndarray, record: DecisionRecord) -> tuple[np.ndarray, np.ndarray]:
    """Cut an image to the box around its valid pixels.

    Args:
        values: (rows, columns).
        valid: (rows, columns) bool.
        record: told of what is cut.

    Returns:
        The part of both inside the box.
    """
    rows, columns = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cut = values[box]
    if cut.shape != values.shape:
        record.changed("crop", f"cut from {_size(values)} to {_size(cut)} pixels, to what the tags leave open")
    return cut, valid[box]


def scale_and_crop(
    file: Path, values: np.ndarray, record: DecisionRecord, valid: np.ndarray | None = None
) -> np.ndarray:
    """Scale with `to_unit` and cut off white or black frames, of which the scale takes no notice.

    Frames are the edges of a scanned film, and collimated borders that no tag tells of.

    Args:
        file: named in errors.
        values: (rows, columns) float32.
        record: told of what is cut, and of what was left since too little would remain.
        valid: (rows, columns) bool, as for `to_unit`.

    Returns:
        (rows, columns) float32 in [0, 1], at least 60 % of the area.

    Raises:
        InputError: as `to_unit`.
    """
    unit = to_unit(file, values, valid)
    box = _inside_frame(unit)
    cut = unit[box]
    if cut.size == unit.size:
        return unit
    if cut.size < LEAST_KEPT * unit.size or min(cut.shape) < MIN_SIDE:
        record.doubt("crop", f"a frame seems to cover {1 - cut.size / unit.size:.0%} of the image; it was not cut off")
        return unit
    record.changed("crop", f"a plain frame was cut off: from {_size(unit)} to {_size(cut)} pixels")
    return to_unit(file, values[box], None if valid is None else valid[box])


def _inside_frame(unit: np.ndarray) -> tuple[slice, slice]:
    top = bottom = left = right = 0
    for _ in range(3):  # a white frame may lie around a black one
        inner = unit[top : unit.shape[0] - bottom, left : unit.shape[1] - right]
        if min(inner.shape) < MIN_SIDE:
            break
        sides = [_frame_lines(lines) for lines in (inner, inner[::-1], inner.T, inner.T[::-1])]
        top, bottom, left, right = (old + new for old, new in zip((top, bottom, left, right), sides, strict=True))
    return slice(top, unit.shape[0] - bottom), slice(left, unit.shape[1] - right)


def _frame_lines(lines: np.ndarray) -> int:
    """How many lines from the first on belong to a frame that ends in a step."""
    for shade in (0.0, 1.0):
        plain = (np.abs(lines - shade) <= FRAME_TOLERANCE).mean(axis=1) >= FRAME_SHARE
        count = len(lines) if plain.all() else int(np.argmin(plain))
        beyond = lines[count : count + STEP_DEPTH]
        if count and len(beyond) and np.abs(beyond - shade).mean(axis=1).max() >= FRAME_STEP:
            return count
    return 0


def to_square(unit: np.ndarray, aspect: float, record: DecisionRecord) -> np.ndarray:
    """Resample an image whose pixels are oblong, at the finer of its two spacings.

    Args:
        unit: (rows, columns) float32 in [0, 1].
        aspect: row spacing by column spacing.
        record: told of the change.

    Returns:
        (rows, columns) float32 in [0, 1] of square pixels.
    """
    if abs(aspect - 1) <= SQUARE_TOLERANCE:
        return unit
    rows, columns = unit.shape
    size = (round(rows * aspect), columns) if aspect > 1 else (rows, round(columns / aspect))
    image = torch.from_numpy(np.ascontiguousarray(unit))[None, None]
    square = interpolate(image, size, mode="bilinear", antialias=True, align_corners=False)[0, 0].clip(0, 1).numpy()
    record.changed("spacing", f"resampled from {_size(unit)} to {_size(square)} square pixels (aspect {aspect:.3g})")
    return square


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"
