"""Read a DICOM radiograph as a film."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from conventions import View

from ...record import DecisionRecord
from ..computed import marked_view
from ..film import Film
from ..scaling import check_size, crop_to, scale_and_crop, to_square
from .checks import checked_header, computed
from .collimation import valid_pixels
from .density import to_density
from .header import Header, take_keys
from .orientation import find_turn
from .pixels import stored_values
from .spacing import find_magnification, pixel_size
from .view import find_view


def read_dicom(
    file: Path, view: View, record: DecisionRecord, *, window: int = 0, without_preamble: bool = False
) -> Film:
    """Read one film and record every decision.

    The order is header, stored bits, modality, VOI or attenuation, polarity, shutter and collimator, spacing,
    orientation.

    Args:
        file: a DICOM file, as `find_kind` found it.
        view: view that the film is taken for.
        record: takes the decisions.
        window: number of the window or VOI look-up table to apply, where the file has several.
        without_preamble: whether to read a file without preamble.

    Returns:
        The film.

    Raises:
        InputError: where the file is damaged, no radiograph of one grey frame, or its tags contradict each other.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings repeat the values of tags
        header = checked_header(file, record, without_preamble=without_preamble)
        mark = computed(header)
        patient_key, date_key = take_keys(header)
        stored = stored_values(file, header)
        if mark is None:
            film = _real(file, header, stored, view, window)
        else:
            pixels = (stored / np.float32(2 ** int(header.number("BitsStored") or 16) - 1)).astype(np.float32)
            film = Film(pixels, view, record, computed=mark)
        tagged = find_view(header, view) or (marked_view(mark) if mark else None)
        film = replace(film, tagged=tagged, patient_key=patient_key, date_key=date_key)
        _place(header, film, stored.shape)
    return film


def _real(file: Path, header: Header, stored: np.ndarray, view: View, window: int) -> Film:
    """Return a film in density, cropped to what shutter and collimator leave."""
    check_size(file, stored.shape)
    if header.text("BurnedInAnnotation") == "YES":
        header.record.doubt("annotation", "the tags say that text is burned into the image; it may name the patient")
    valid = valid_pixels(header, stored)
    density = to_density(file, header, stored, valid, window)
    density, valid = crop_to(density, valid, header.record)
    check_size(file, density.shape)
    pixels, inside = scale_and_crop(file, density, header.record, None if valid.all() else valid)
    return Film(pixels, view, header.record, valid=inside)


def _place(header: Header, film: Film, shape: tuple[int, ...]) -> None:
    """Make pixels square and the film upright, and set its spacing and magnification."""
    film.magnification = find_magnification(header, film.tagged or film.view)
    size = pixel_size(header, shape, film.magnification)
    pixels, valid = to_square(film.pixels, size.aspect, film.record, film.valid)
    turn = find_turn(header, film.view)
    film.pixels = np.ascontiguousarray(turn(pixels))
    film.valid = None if valid is None else np.ascontiguousarray(turn(valid))
    film.spacing = min(size.spacing) if size.spacing else None
