"""Read where each frame of a DICOM CT lies, from files of one frame or of many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conventions import InputError

from ...radiographs.dicom.header import Header

MACROS = (
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
)
"""Functional groups that place a frame and rescale its values (PS3.3 C.7.6.16)."""

SLOPE, INTERCEPT = "RescaleSlope", "RescaleIntercept"

MAX_OBLIQUE = 0.01
"""Largest deviation of two axes from length 1 and from a right angle that is rounding."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a series: where it lies, and how its stored values become HU.

    Args:
        file: its file.
        number: place of the frame in the file, from 0.
        header: technical tags of the file.
        position: (3,) centre of the first pixel, LPS in mm; None where it is not stated.
        axes: (2, 3) directions along a row and along a column, LPS, of length 1; None where they are not stated.
        spacing: (2,) mm between rows and between columns; None where it is not stated.
        slope: HU per stored value; None where it is not stated.
        intercept: HU of the stored value 0; None where it is not stated.
    """

    file: Path
    number: int
    header: Header
    position: np.ndarray | None
    axes: np.ndarray | None
    spacing: np.ndarray | None
    slope: float | None
    intercept: float | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.number("Rows") or 0), int(self.header.number("Columns") or 0)

    @property
    def series(self) -> str:
        """UID of its series, never to be shown."""
        return self.header.text("SeriesInstanceUID")


def frames_of(file: Path, header: Header) -> list[Frame]:
    """Return the frames of one file.

    In a file of many frames each one has its own place, by its functional groups; tags of the file as a whole do not
    say where one of them lies.

    Args:
        file: named in errors.
        header: technical tags of the file.

    Returns:
        One or more frames.

    Raises:
        InputError: where functional groups and frames differ in number.
    """
    count = int(header.number("NumberOfFrames") or 1)
    own, shared = (header.items(f"{which}FunctionalGroupsSequence") for which in ("PerFrame", "Shared"))
    if not own:
        frame = _frame(file, 0, header, [header, *_macros(shared, header)])
        return [frame] if count == 1 else [replace(frame, number=n, position=None) for n in range(count)]
    if len(own) != count:
        raise InputError(f"{file}: holds {count} frames and describes {len(own)} of them; export it again")
    common = _macros(shared, header)
    return [_frame(file, n, header, [*_macros([group], header), *common]) for n, group in enumerate(own)]


def _macros(groups: Iterable[Any], header: Header) -> list[Header]:
    """Return the items of the functional groups that place and rescale a frame."""
    return [
        Header(item, header.record)
        for group in groups
        for macro in MACROS
        for item in Header(group, header.record).items(macro)
    ]


def _frame(file: Path, number: int, header: Header, places: Sequence[Header]) -> Frame:
    """Return a frame whose tags stand in the first of several places that holds them."""

    def numbers(keyword: str, count: int) -> np.ndarray | None:
        stated = next((found for place in places if (found := place.numbers(keyword))), [])
        return np.array(stated) if len(stated) == count else None

    axes, spacing = numbers("ImageOrientationPatient", 6), numbers("PixelSpacing", 2)
    slope, intercept = numbers(SLOPE, 1), numbers(INTERCEPT, 1)
    return Frame(
        file,
        number,
        header,
        numbers("ImagePositionPatient", 3),
        None if axes is None else _unit(axes.reshape(2, 3)),
        None if spacing is None or spacing.min() <= 0 else spacing,
        None if slope is None else float(slope[0]),
        None if intercept is None else float(intercept[0]),
    )


def _unit(axes: np.ndarray) -> np.ndarray | None:
    """Return two directions with length 1, None where they are not nearly of length 1 and perpendicular."""
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > MAX_OBLIQUE or abs(axes[0] @ axes[1]) > MAX_OBLIQUE:
        return None
    return axes / lengths[:, None]
