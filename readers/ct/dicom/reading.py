"""Read a CT from DICOM."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conventions import LPS_TO_RAS, InputError

from ...record import DecisionRecord
from ..checks import check_size
from ..scan import Scan, finish_scan
from .files import find_files
from .frames import Frame
from .series import Series, choose_series
from .stack import Stack, StackError, at_same_position, even_stack
from .voxels import read_voxels, same_pixels

MAX_TWICE = 0.25
"""Largest share of places that hold several slices for the rest to be one volume."""


def read_dicom_ct(path: Path, record: DecisionRecord, files: Sequence[Path] = ()) -> Scan:
    """Read the CT in a folder, or the CT that a file belongs to.

    Positions decide about order, step and tilt; slices that lie at the same place are read once.

    Args:
        path: folder or file.
        record: takes the decisions.
        files: files of the CT, where they are known; the path is then their name in errors.

    Returns:
        The CT.

    Raises:
        InputError: where there is no CT or there are several, positions are not those of an even stack, pixels cannot
            be read or are not HU.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings repeat the values of tags
        found = find_files(path, record, files)
        series = choose_series(path, found, record, any_series=bool(files) or path.is_dir())
        _check_frames(path, series)
        frames, stack = _stack(path, series, record)
        rows, columns = frames[0].shape
        check_size(path, (columns, rows, len(frames)))
        voxels = read_voxels(frames, record)
    return finish_scan(path, voxels, _affine(frames[0], stack), record)


def _check_frames(path: Path, series: Series) -> None:
    """Refuse a series whose images are not placed, or differ in size."""
    frames = series.frames
    unplaced = sum(frame.position is None for frame in frames)
    if unplaced:
        raise InputError(
            f"{path}: {unplaced} of {len(frames)} images state no position (ImagePositionPatient), so their order and "
            "distance are unknown; export the CT with its geometry"
        )
    if frames[0].axes is None:
        raise InputError(
            f"{path}: its images state no usable axes (ImageOrientationPatient); export the CT with its geometry"
        )
    if any(frame.spacing is None for frame in frames):
        raise InputError(f"{path}: an image states no usable PixelSpacing; export the CT with its geometry")
    sizes = sorted({frame.shape for frame in frames})
    if len(sizes) > 1:
        listed = ", ".join(f"{rows} x {columns}" for rows, columns in sizes)
        raise InputError(f"{path}: its slices differ in size ({listed}); reconstruct the series with one field")
    spacing = np.array([frame.spacing for frame in frames])
    if np.ptp(spacing, axis=0).max() > 1e-3 * spacing.max():
        raise InputError(f"{path}: its slices differ in PixelSpacing; reconstruct the series with one field")


def _stack(path: Path, series: Series, record: DecisionRecord) -> tuple[list[Frame], Stack]:
    """Return one frame for each place along the normal, in order, and the stack that they make."""
    positions, normal = series.positions, series.normal
    assert positions is not None  # as checked
    assert normal is not None
    places = [[series.frames[i] for i in np.sort(place)] for place in at_same_position(positions, normal)]
    frames = _one_at_each_place(path, places, record)
    try:
        stack = even_stack(np.array([frame.position for frame in frames]), normal)
    except StackError as error:
        raise InputError(f"{path}: {error}") from error
    return [frames[i] for i in stack.order], stack


def _one_at_each_place(path: Path, places: Sequence[Sequence[Frame]], record: DecisionRecord) -> list[Frame]:
    """Return the first frame at each place, and note the others."""
    several = [place for place in places if len(place) > 1]
    different = [place for place in several if not same_pixels(place)]
    if len(different) > MAX_TWICE * len(places):
        raise InputError(
            f"{path}: holds {max(map(len, several))} different images at most of its positions (phases, or two "
            "reconstructions under one series); give one of them alone"
        )
    if different:
        record.doubt("slices", f"{len(different)} positions hold different images; the first by file name is taken")
    if len(several) > len(different):
        record.changed("slices", f"{len(several) - len(different)} positions hold the same image twice; one is taken")
    return [place[0] for place in places]


def _affine(first: Frame, stack: Stack) -> np.ndarray:
    """Return the (4, 4) voxel index (column, row, slice) to RAS in mm."""
    assert first.axes is not None  # as checked
    assert first.spacing is not None
    affine = np.eye(4)
    affine[:3, :3] = np.stack([first.axes[0] * first.spacing[1], first.axes[1] * first.spacing[0], stack.step], 1)
    affine[:3, 3] = stack.origin
    affine[:3] *= np.array(LPS_TO_RAS)[:, None]
    if np.linalg.det(affine[:3, :3]) <= 0:
        raise AssertionError("columns, rows and slices of a DICOM CT are right-handed")
    return affine
