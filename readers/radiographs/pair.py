"""Check that two films belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn.functional import interpolate

from conventions import InputError

from .film import Film

SAME_FILM = 0.99
"""Correlation of two films from which they are one; a frontal and a lateral film of a patient are much less alike."""

COMPARED_SIZE = 64
"""Rows and columns at which two films are compared."""


def check_pair(films: list[Film]) -> list[Film]:
    """Doubt films from different patients or days or of the same view, and swap films given in the wrong order.

    Args:
        films: one for each view, in the requested order; a single one is left alone.

    Returns:
        The films, in the requested order.

    Raises:
        InputError: where both are the same film.
    """
    if len(films) != 2:
        return films
    _refuse_one_film_twice(films)
    for key, what in (("patient_key", "patients"), ("date_key", "days")):
        one, other = (getattr(film, key) for film in films)
        if one and other and one != other:
            _doubt(films, "pair", f"the two films are of different {what}", 1.0)
    first, second = films
    if first.tagged is None or second.tagged is None:
        return films
    if first.tagged is second.view and second.tagged is first.view:
        films = [replace(second, view=first.view), replace(first, view=second.view)]
        _doubt(films, "view", "the tags of both films say the other view; the two were exchanged", 1.0)
    elif first.tagged is second.tagged:
        _doubt(films, "view", f"both films say that they are {first.tagged}", 1.0)
    return films


def _refuse_one_film_twice(films: list[Film]) -> None:
    first, second = films
    if first.computed is not None and second.computed is not None and first.tagged is not second.tagged:
        return  # the DRRs of a cylinder are the same from everywhere
    if not np.array_equal(first.pixels, second.pixels) and _correlation(first.pixels, second.pixels) < SAME_FILM:
        return
    names = list(dict.fromkeys(film.record.file for film in films))
    said = "is given" if len(names) == 1 else "are one film, given"
    raise InputError(f"{' and '.join(names)}: {said} as {first.view} and as {second.view}; give two different films")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Pearson correlation of two images brought to one size, 0 where one is constant."""
    size = (COMPARED_SIZE, COMPARED_SIZE)
    a, b = (
        interpolate(torch.from_numpy(np.ascontiguousarray(image))[None, None], size, mode="bilinear", antialias=True)
        for image in (one, other)
    )
    value = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]
    return float(value.nan_to_num())


def _doubt(films: list[Film], subject: str, text: str, confidence: float) -> None:
    for film in films:
        film.record.doubt(subject, text, confidence)
