"""Apply the look-up tables, rescale and windows of a DICOM radiograph (PS3.3 C.11.1, C.11.2)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conventions import InputError

from .header import Header

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
"""Known terms of VOI LUT Function (0028,1056)."""


@dataclass(frozen=True)
class Table:
    """Look-up table (PS3.3 C.11.1.1).

    Args:
        first: value that the first entry stands for; lower ones map to it.
        entries: integers.
        bits: number of bits of an entry.
    """

    first: int
    entries: np.ndarray
    bits: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Look values up; those beyond an end take the entry there."""
        index = np.rint(values).astype(np.int64) - self.first
        return self.entries[index.clip(0, len(self.entries) - 1)]

    @property
    def top(self) -> float:
        """Return the largest value that the bits can hold, or the largest entry if that is greater."""
        return float(max(2**self.bits - 1, self.entries.max()))


def read_table(item: Any, *, signed: bool) -> Table | None:
    """Read an item of a Modality LUT or VOI LUT Sequence.

    Args:
        item: item with LUTDescriptor (0028,3002) and LUTData (0028,3006).
        signed: whether the values to be looked up may be negative.

    Returns:
        The table; None where it is shorter than it says or cannot be read.
    """
    try:
        count, first, bits = (int(value) for value in item.LUTDescriptor)
        data = item.LUTData
        if isinstance(data, bytes):
            count = (count & 0xFFFF) or 2**16
            data = np.frombuffer(data, np.uint8 if len(data) in (count, count + count % 2) else "<u2")
        entries = np.atleast_1d(np.array(data, dtype=np.int64)) & 0xFFFF
    except Exception:  # pydicom raises whatever a value of the wrong kind or length happens to cause
        return None
    count = (count & 0xFFFF) or 2**16
    first = (first & 0xFFFF) - (2**16 if signed and (first & 0xFFFF) >= 2**15 else 0)
    if len(entries) < count or not 1 <= bits <= 16:
        return None
    return Table(first, entries[:count], bits)


def to_modality(file: Path, header: Header, values: np.ndarray) -> np.ndarray:
    """Apply the Modality LUT, or RescaleSlope and RescaleIntercept, in float64.

    Args:
        file: named in errors.
        header: tags of the film.
        values: stored values, any shape.

    Returns:
        Modality values, same shape.

    Raises:
        InputError: where RescaleSlope is zero.
    """
    record = header.record
    for item in header.items("ModalityLUTSequence")[:1]:
        table = read_table(item, signed=header.number("PixelRepresentation") == 1)
        if table is not None:
            record.found("modality", f"a modality look-up table of {len(table.entries)} entries is applied")
            return table(values).astype(np.float64)
        record.doubt("modality", "the modality look-up table is shorter than it says; it is left out")
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    if slope == 0:
        raise InputError(f"{file}: RescaleSlope is 0, which leaves no image; export it again")
    if slope is None and intercept is None:
        return values.astype(np.float64)
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    if (slope, intercept) != (1, 0):
        record.found("modality", f"rescaled by slope {slope:g} and intercept {intercept:g}")
    return values * slope + intercept


def apply_voi(file: Path, header: Header, values: np.ndarray, valid: np.ndarray, window: int) -> np.ndarray:
    """Apply the chosen VOI look-up table, else the chosen window.

    Args:
        file: named in errors.
        header: tags of the film.
        values: (rows, columns) modality values.
        valid: (rows, columns), false where shutter, collimator or padding lie.
        window: number of the table or window to apply, from 0.

    Returns:
        (rows, columns) in [0, 1]; the values as they are where no window or table can be used.

    Raises:
        InputError: where there are fewer.
    """
    tables, record = header.items("VOILUTSequence"), header.record
    if tables:
        _check_choice(file, window, len(tables), "VOI look-up tables")
        table = read_table(tables[window], signed=bool(values.min() < 0))
        if table is not None:
            record.found("tone", f"VOI look-up table {window + 1} of {len(tables)}, {table.bits} bits, is applied")
            return table(values) / table.top
        record.doubt("tone", "the VOI look-up table is shorter than it says; it is left out")
    windows = _windows(header)
    if not windows:
        record.assumed("tone", "no window or VOI look-up table can be used; the whole range of values is taken")
        return values
    _check_choice(file, window, len(windows), "windows")
    centre, width = windows[window]
    function = header.text("VOILUTFunction") or "LINEAR"
    if function not in FUNCTIONS:
        record.doubt("tone", "the VOI LUT function is not a known one; a linear window is taken")
        function = "LINEAR"
    shown = _windowed(values, centre, width, function)
    if shown is None:
        record.doubt("tone", f"window width {width:g} is impossible; the whole range of values is taken")
        return values
    low, high = np.percentile(shown[valid], (1, 99))
    if high - low < 0.02:
        record.doubt("tone", "the window leaves next to no contrast; the whole range of values is taken")
        return values
    record.found("tone", f"window {window + 1} of {len(windows)}: centre {centre:g}, width {width:g}, {function}")
    return shown


def _windows(header: Header) -> list[tuple[float, float]]:
    """Return the windows, (centre, width), of which the file states both; doubt where it does not."""
    centres, widths = (header.places(keyword) for keyword in ("WindowCenter", "WindowWidth"))
    pairs = [(c, w) for c, w in zip(centres, widths, strict=False) if c is not None and w is not None]
    counts = [sum(number is not None for number in numbers) for numbers in (centres, widths)]
    if counts != [len(pairs), len(pairs)]:
        taken = f"the {len(pairs)} of which both are stated" if pairs else "none"
        header.record.doubt(
            "tone",
            f"the numbers of window centres and widths differ ({counts[0]} and {counts[1]}); {taken} can be used",
        )
    return pairs


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray | None:
    """Return values in [0, 1] by the formulas of PS3.3 C.11.2.1; None where the width is too small for the function."""
    if function == "SIGMOID":
        return None if width <= 0 else 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-500, 500)))
    if function == "LINEAR_EXACT":
        return None if width <= 0 else ((values - centre) / width + 0.5).clip(0, 1)
    if width < 1:
        return None
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    return ((values - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1)


def _check_choice(file: Path, window: int, count: int, what: str) -> None:
    if not 0 <= window < count:
        raise InputError(
            f"{file}: has no window with index {window}, where the first one is 0; number of {what}: {count}"
        )
