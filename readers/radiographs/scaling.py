"""Scale values to [0, 1], cut off frames and make pixels square."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from conventions import InputError

from ..record import DecisionRecord

FILM_PERCENTILES = (0.5, 99.5)
"""Percentiles of a film's valid pixels that become 0 and 1."""

MIN_SIDE = 64
"""Smallest side of a film in pixels."""

MAX_ASPECT = 3.0
"""Largest ratio of the sides of a film."""

SQUARE_TOLERANCE = 1e-3
"""Relative difference of row and column spacing up to which pixels count as square."""

FRAME_TOLERANCE = 0.05
"""Largest difference from black or white within a frame."""

FRAME_SHARE = 0.95
"""Smallest share of a line of a frame that is black or white."""

FRAME_STEP = 0.1
"""Smallest mean difference between a frame and the film inside it; anatomy and air fade instead."""

STEP_DEPTH = 3
"""Number of lines over which a scanned edge may be blurred."""

LEAST_KEPT = 0.6
"""Smallest share of the area that cropping must leave."""


def check_size(file: Path, shape: tuple[int, ...]) -> None:
    """Raise an `InputError` where an image is too small or too narrow for a chest film.

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
        InputError: where nearly all valid pixels have one value.
    """
    inside = values if valid is None else values[valid]
    low, high = np.percentile(inside, FILM_PERCENTILES)
    if not high > low:
        raise InputError(f"{file}: is constant, so it shows nothing; export the radiograph again")
    unit = ((values - np.float32(low)) / np.float32(high - low)).clip(0, 1)
    if valid is not None:
        unit[~valid] = 0
    return unit


def crop_to(values: np.ndarray, valid: np.ndarray, record: DecisionRecord) -> tuple[np.ndarray, np.ndarray]:
    """Cut an image to the box around its valid pixels.

    Args:
        values: (rows, columns).
        valid: (rows, columns) bool.
        record: takes the decision.

    Returns:
        The parts of both inside the box.
    """
    rows, columns = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cut = values[box]
    if cut.shape != values.shape:
        record.changed("crop", f"cut from {_size(values)} to {_size(cut)} pixels, to what the tags leave open")
    return cut, valid[box]


def scale_and_crop(
    file: Path, values: np.ndarray, record: DecisionRecord, valid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Cut off white or black frames and scale what is left with `to_unit`.

    Frames are the edges of a scanned film, and collimated borders that no tag states.

    Args:
        file: named in errors.
        values: (rows, columns) float32.
        record: takes the decision, with a doubt where too little would remain.
        valid: as in `to_unit`.

    Returns:
        (rows, columns) float32 in [0, 1], at least 60 % of the area; and where it is valid, None for everywhere. What
        seems to be a frame and was not cut off is not valid.

    Raises:
        InputError: as in `to_unit`.
    """
    unit = to_unit(file, values, valid)
    box = _inside_frame(unit)
    cut = unit[box]
    if cut.size == unit.size:
        return unit, valid
    if cut.size < LEAST_KEPT * unit.size or min(cut.shape) < MIN_SIDE:
        record.doubt("crop", f"a frame seems to cover {1 - cut.size / unit.size:.0%} of the image; it was not cut off")
        framed = np.zeros(unit.shape, bool)
        framed[box] = True if valid is None else valid[box]
        return unit, framed
    record.changed("crop", f"a plain frame was cut off: from {_size(unit)} to {_size(cut)} pixels")
    valid = None if valid is None else valid[box]
    return to_unit(file, values[box], valid), valid


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
    """Return how many lines, from the first one, belong to a frame that ends in a step."""
    for shade in (0.0, 1.0):
        plain = (np.abs(lines - shade) <= FRAME_TOLERANCE).mean(axis=1) >= FRAME_SHARE
        count = len(lines) if plain.all() else int(np.argmin(plain))
        beyond = lines[count : count + STEP_DEPTH]
        if count and len(beyond) and np.abs(beyond - shade).mean(axis=1).max() >= FRAME_STEP:
            return count
    return 0


def to_square(
    unit: np.ndarray, aspect: float, record: DecisionRecord, valid: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Resample an image with oblong pixels to square ones, at the finer of its two spacings.

    Args:
        unit: (rows, columns) float32 in [0, 1].
        aspect: row spacing divided by column spacing.
        record: takes the decision.
        valid: (rows, columns) bool; None is valid everywhere.

    Returns:
        (rows, columns) float32 in [0, 1], and where it is made of valid pixels alone, None for everywhere.
    """
    if abs(aspect - 1) <= SQUARE_TOLERANCE:
        return unit, valid
    rows, columns = unit.shape
    size = (round(rows * aspect), columns) if aspect > 1 else (rows, round(columns / aspect))
    square = _resampled(unit, size).clip(0, 1)
    record.changed("spacing", f"resampled from {_size(unit)} to {_size(square)} square pixels (aspect {aspect:.3g})")
    return square, None if valid is None else _resampled(valid, size) > 1 - SQUARE_TOLERANCE


def _resampled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    plane = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
    return interpolate(plane, size, mode="bilinear", antialias=True, align_corners=False)[0, 0].numpy()


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"
