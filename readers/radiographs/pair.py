"""Check that two films belong together."""

from __future__ import annotations

from dataclasses import replace

from .film import Film


def check_pair(films: list[Film]) -> list[Film]:
    """Doubt films from different patients or days or of the same view, and swap films given in the wrong order.

    Args:
        films: one for each view, in the requested order; a single one is left alone.

    Returns:
        The films, in the requested order.
    """
    if len(films) != 2:
        return films
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


def _doubt(films: list[Film], subject: str, text: str, confidence: float) -> None:
    for film in films:
        film.record.doubt(subject, text, confidence)
