"""A DICOM radiograph (CR, DX, RF) as a film."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from conventions import View

from .computed import stated_view
from .density import to_density
from .field import valid_pixels
from .film import Film
from .header import computed, read_header
from .orientation import find_turn, find_view
from .record import DecisionRecord
from .scaling import check_size, crop_to, scale_and_crop, to_square
from .spacing import find_magnification, pixel_size
from .stored import stored_values
from .tags import Header, take_keys


def read_dicom(
    file: Path, view: View, record: DecisionRecord, *, window: int = 0, without_preamble: bool = False
) -> Film:
    """Read one film.

    Header, stored bits, modality, VOI or attenuation, polarity, shutter and collimator, spacing, orientation: in this
    order, each with a decision in the record.

    Args:
        file: a DICOM file, as `find_kind` says.
        view: what it is taken for.
        record: told every decision.
        window: which of several windows or VOI look-up tables.
        without_preamble: whether to read a file without preamble.

    Returns:
        The film.

    Raises:
        InputError: where the file is damaged, no radiograph of one grey frame, or its tags contradict each other.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's tell the values of tags
        header = read_header(file, record, without_preamble=without_preamble)
        made_by = computed(header)
        patient_key, date_key = take_keys(header)
        stored = stored_values(file, header)
        if made_by is None:
            film = _real(file, header, stored, view, window)
        else:
            pixels = (stored / np.float32(2 ** int(header.number("BitsStored") or 16) - 1)).astype(np.float32)
            film = Film(pixels, view, record, computed=made_by)
        tagged = find_view(header, view) or (stated_view(made_by) if made_by else None)
        film = replace(film, tagged=tagged, patient_key=patient_key, date_key=date_key)
        _place(header, film, stored.shape)
    return film


def _real(file: Path, header: Header, stored: np.ndarray, view: View, window: int) -> Film:
    """A film in density, cropped to what shutter and collimator leave."""
    check_size(file, stored.shape)
    if header.text("BurnedInAnnotation") == "YES":
        header.record.doubt("annotation", "the tags say that text is burned into the image; it may name the patient")
    valid = valid_pixels(header, stored)
    density = to_density(file, header, stored, valid, window)
    density, valid = crop_to(density, valid, header.record)
    check_size(file, density.shape)
    return Film(scale_and_crop(file, density, header.record, valid), view, header.record)


def _place(header: Header, film: Film, shape: tuple[int, ...]) -> None:
    """Make pixels square and the film upright, with its spacing."""
    film.magnification = find_magnification(header)
    size = pixel_size(header, shape, film.magnification)
    film.pixels = np.ascontiguousarray(find_turn(header, film.view)(to_square(film.pixels, size.aspect, film.record)))
    film.spacing = min(size.spacing) if size.spacing else None
