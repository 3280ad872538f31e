"""Choose the one CT of a chest among the series of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conventions import InputError

from ...record import DecisionRecord
from ..checks import MIN_EXTENT_MM
from .files import DAMAGED, Found
from .frames import Frame, frames_of
from .stack import at_same_position

SAME_AXES = 0.01
"""Largest difference between the axes of two slices of one stack."""


@dataclass(eq=False)
class Series:
    """Frames of one series with the same axes.

    Args:
        frames: in the order of their files.
    """

    frames: list[Frame]

    @property
    def normal(self) -> np.ndarray | None:
        """(3,) of length 1, along which slices are stacked; None where axes are not stated."""
        axes = self.frames[0].axes
        if axes is None:
            return None
        normal = np.cross(*axes)
        return normal / np.linalg.norm(normal)

    @property
    def positions(self) -> np.ndarray | None:
        """(N, 3) of the frames, LPS in mm; None where one is not stated."""
        positions = [frame.position for frame in self.frames if frame.position is not None]
        return np.array(positions) if len(positions) == len(self.frames) else None

    @property
    def extent_mm(self) -> float:
        """Distance from the first to the last slice; 0 where positions are not stated."""
        positions, normal = self.positions, self.normal
        return 0.0 if positions is None or normal is None else float(np.ptp(positions @ normal))

    def describe(self) -> str:
        """Return its size in words, without anything that names a person, and one of its files."""
        positions, normal, count = self.positions, self.normal, len(self.frames)
        if positions is not None and normal is not None:
            count = len(at_same_position(positions, normal))
        rows, columns = self.frames[0].shape
        plane = "" if normal is None else f" {('sagittal', 'coronal', 'axial')[int(np.abs(normal).argmax())]}"
        return f"{count}{plane} slices of {rows} x {columns} over {self.extent_mm:.0f} mm ({self.frames[0].file.name})"


def choose_series(path: Path, found: Found, record: DecisionRecord, *, any_series: bool) -> Series:
    """Choose the series that is read: the only one that is long enough for a chest.

    Args:
        path: a folder, or a file whose series is asked for.
        found: the CT images.
        record: takes what is left out.
        any_series: whether images of any series count, or only those of the series that the file belongs to.

    Returns:
        The series.

    Raises:
        InputError: where there is no CT, or several could be meant; it lists them.
    """
    frames = [frame for file, header in found.cts for frame in frames_of(file, header)]
    if not any_series:
        wanted = [frame.series for frame in frames if frame.file == path]
        frames = [frame for frame in frames if wanted and frame.series == wanted[0]]
    every = _series(frames)
    if not every:
        what = found.left_out() or "nothing"
        raise InputError(f"{path}: holds no DICOM CT, but {what}; give the file of a CT, or a folder with its slices")
    long = [series for series in every if series.extent_mm >= MIN_EXTENT_MM]
    if len(long) != 1 and len(every) > 1:
        listed = "; ".join(series.describe() for series in (long or every)[:8])
        raise InputError(
            f"{path}: holds {len(long or every)} CT series{'' if long else ', none as long as a chest'}: {listed}; "
            "give a file of the one that is meant, or a folder that holds it alone"
        )
    chosen = long[0] if long else every[0]
    rest = [f"{len(series.frames)} CT images of another series" for series in every if series is not chosen]
    out = ", ".join([*rest, *filter(None, [found.left_out()] if any_series else [])])
    record.found("series", f"{chosen.describe().rpartition(' (')[0]}" + (f"; left out: {out}" if out else ""))
    damaged = found.others[DAMAGED]
    if damaged and any_series:
        record.doubt("series", f"{damaged} damaged DICOM files are left out; slices at its ends may be missing")
    return chosen


def _series(frames: Sequence[Frame]) -> list[Series]:
    """Return the frames by their series and axes, in the order of their files."""
    every: dict[str, list[Series]] = {}
    for frame in frames:
        stacks = every.setdefault(frame.series, [])
        same = next((stack for stack in stacks if _same_axes(stack.frames[0], frame)), None)
        if same is None:
            stacks.append(Series([frame]))
        else:
            same.frames.append(frame)
    return [stack for stacks in every.values() for stack in stacks]


def _same_axes(one: Frame, other: Frame) -> bool:
    if one.axes is None or other.axes is None:
        return one.axes is other.axes
    return bool(np.abs(one.axes - other.axes).max() < SAME_AXES)
