"""Read a file of any supported format as films."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conventions import InputError, View

from ..record import FILMS_LOG, DecisionRecord
from .computed import marked_view
from .dicom import read_dicom
from .file_kind import FileKind, find_kind
from .film import Film
from .nifti import read_nifti
from .raster import Raster, read_raster
from .scaling import check_size, scale_and_crop


@dataclass(frozen=True)
class ReadOptions:
    """Options for reading films.

    Args:
        window: number of the window or VOI look-up table of a DICOM file that is applied, where there are several.
        invert: whether to treat dark as dense although the file does not state it.
        without_preamble: whether to read DICOM files without preamble.
        spacing: mm per pixel at the detector, in place of what the file says.

    Raises:
        InputError: where the spacing is not positive.
    """

    window: int = 0
    invert: bool = False
    without_preamble: bool = False
    spacing: float | None = None

    def __post_init__(self) -> None:
        if self.spacing is not None and not 0 < self.spacing < float("inf"):
            raise InputError(f"spacing is in mm per pixel at the detector and must be positive, got {self.spacing}")


def read_films(
    path: str | os.PathLike[str], views: Sequence[View], options: ReadOptions, log: str | None = FILMS_LOG
) -> list[Film]:
    """Read the films of one file.

    Args:
        path: DICOM, PNG, JPEG or TIFF of one film, or NIfTI of all views or of one DRR.
        views: views that its films are taken for, in order; the last one serves all further films.
        options: what the user states.
        log: logger of doubts; None logs nothing.

    Returns:
        One film, or as many as a NIfTI file holds.

    Raises:
        InputError: where the file cannot be read as a radiograph.
    """
    file, record = Path(path), DecisionRecord(str(path), log)
    kind = find_kind(file, record)
    if kind is FileKind.NIFTI:
        planes = read_nifti(file)
        films = [
            _as_picture(file, Raster(pixels, mark), views[min(i, len(views) - 1)], DecisionRecord(str(path), log))
            for i, (pixels, mark) in enumerate(planes)
        ]
    elif kind in (FileKind.DICOM, FileKind.DICOM_WITHOUT_PREAMBLE):
        permitted = _check_preamble(file, kind, options, record)
        films = [read_dicom(file, views[0], record, window=options.window, without_preamble=permitted)]
    else:
        films = [_as_picture(file, read_raster(file, kind, record), views[0], record)]
    for film in films:
        _finish(film, options)
    return films


def _check_preamble(file: Path, kind: FileKind, options: ReadOptions, record: DecisionRecord) -> bool:
    if kind is FileKind.DICOM:
        return False
    if not options.without_preamble:
        raise InputError(f"{file}: looks like DICOM without its preamble; set without_preamble to read it")
    record.assumed("format", "a file without preamble is read as DICOM, as requested")
    return True


def _as_picture(file: Path, raster: Raster, view: View, record: DecisionRecord) -> Film:
    """Return a film of which nothing but its values is known, or a DRR as it is."""
    if raster.computed is not None:
        return Film(raster.values, view, record, computed=raster.computed)
    check_size(file, raster.values.shape)
    record.assumed("polarity", "a picture does not state it; bright is taken as dense")
    record.assumed("view", f"not stated; taken for {view} as asked")
    record.assumed("orientation", "a picture does not state it; taken as it stands")
    record.assumed("spacing", "unknown: a picture does not state it")
    pixels, valid = scale_and_crop(file, raster.values, record)
    return Film(pixels, view, record, valid=valid)


def _finish(film: Film, options: ReadOptions) -> None:
    """Apply what the user states, and compare the view in the mark of a DRR with the requested one."""
    if film.computed is not None:
        film.record.found("origin", "computed from a CT; its values are film values, neither scaled nor cropped")
        if film.tagged is None:
            film.tagged = marked_view(film.computed)
            if film.tagged is not None and film.tagged is not film.view:
                film.record.doubt("view", f"given as {film.view}, but computed as {film.tagged}", confidence=1.0)
    if options.invert:
        film.pixels = np.float32(1) - film.pixels
        if film.valid is not None:
            film.pixels[~film.valid] = 0
        film.record.changed("polarity", "inverted, as requested")
    if options.spacing is not None:
        film.record.found("spacing", f"{options.spacing:g} mm at the detector, as given")
        film.spacing = options.spacing
