"""Prepare one film of a patient with a CT: read it, check what it shows, and copy it without what names the patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conventions import InputError, View
from readers import ReadOptions, copy_film, read_by_itself
from storage import digest_of

from .once import make_once

FORM = 1
"""Number of this form of preparation; films of another are made again."""

FILMS = "films"
"""Folder of the films of a prepared cohort."""


@dataclass(frozen=True)
class FilmSource:
    """Film to prepare.

    Args:
        name: name of the film; nothing of it can be read.
        path: its file.
        view: view that its tags state; None where they state none that a model reads.
        days: case of the patient -> days from the CT to the film, None where a date is not stated.
    """

    name: str
    path: Path
    view: View | None
    days: dict[str, int | None]


def prepare_film(source: FilmSource, destination: Path) -> dict[str, Any]:
    """Prepare one film, unless it was prepared already from the same file for the same CTs.

    Args:
        source: the film.
        destination: folder of the cohort; `films` and `records` in it are made.

    Returns:
        {"film", "sha256", "view", "days", ...}, where `days` is that of the source; or {"name", "refused": sentence}.
    """
    file = f"{FILMS}/{source.name}.dcm"
    return make_once(
        source.name,
        source.path,
        destination,
        file,
        lambda: {"form": FORM, "content": digest_of(source.path), "days": source.days},
        lambda: _make(source, destination, file),
    )


def _make(source: FilmSource, destination: Path, file: str) -> dict[str, Any]:
    film = read_by_itself(source.path, source.view, ReadOptions(without_preamble=True))
    if film.computed is not None:
        raise InputError(f"{source.path}: is a DRR, computed from a CT, and no film; leave it out")
    copy_film(source.path, film, destination / file)
    return {
        "film": file,
        "sha256": digest_of(destination / file),
        "view": str(film.view),
        "days": source.days,
        "size": list(film.pixels.shape),
        "spacing": film.spacing,
        "magnification": film.magnification,
        "decisions": film.record.to_list(),
    }
