"""Read a film of which nobody says what view it is, as in an archive."""

from __future__ import annotations

from pathlib import Path

from conventions import InputError, View

from ..record import DecisionKind
from .assessment import assess_film
from .content import SURE_VIEW, check_content
from .film import Film
from .reading import ReadOptions, read_films


def read_by_itself(file: Path, view: View | None, options: ReadOptions) -> Film:
    """Read a film in the view that its tags state, else in the one that it looks like, and check what it shows.

    Args:
        file: file of one film.
        view: view that its tags state, where that is known already.
        options: what the user states.

    Returns:
        The film as its file says; what `check_content` found, a mirrored lateral too, is in its record alone.

    Raises:
        InputError: where it is refused by `read_films` or `check_content`, or states another view than PA or lateral.
    """
    asked, looks = view, 0.0
    if asked is None:
        first = read_films(file, [View.PA], options, log=None)[0]
        asked = first.tagged
        if asked is None:
            if not any(one.kind is DecisionKind.ASSUMED and one.subject == "view" for one in first.record.decisions):
                raise InputError(f"{file}: is neither a PA nor a lateral film by its tags; models read these two alone")
            looks = assess_film(first.pixels, View.PA).view_margin
            asked = View.PA if looks >= 0 else View.LATERAL
    film = read_films(file, [asked], options)[0]
    if film.tagged is None:
        sure = round(min(abs(looks) / SURE_VIEW, 1.0), 2)
        film.record.assumed("view", f"it looks like a {film.view}", confidence=sure)
    check_content(film.pixels, film.view, film.record)
    return film
