"""Store the films of a case and every decision about them in its item, as plain data that any loader collates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from conventions import Keys, View

from ..record import DecisionRecord
from .lung_box import LungBox

PICTURE_SIZE = 600
"""Longest side, in pixels, of the picture of a film in an item."""


@dataclass(frozen=True)
class PlacedFilm:
    """A film as it was matched, and where the model's field lies on it.

    Args:
        view: view that the film is taken for.
        picture: (rows, columns) in [0, 1], bright = dense, at most `PICTURE_SIZE` pixels a side after `pack_films`.
        lungs: box of the lungs in pixels of the picture; None if they were not searched for.
        frame: (top, bottom, left, right) of the model's radiograph in pixels of the picture.
        record: every decision about the film.
        computed: whether it is a DRR.
    """

    view: View
    picture: np.ndarray
    lungs: LungBox | None
    frame: tuple[float, float, float, float]
    record: DecisionRecord
    computed: bool = False


def pack_films(films: Sequence[PlacedFilm]) -> dict[str, Any]:
    """Turn the films of a case into entries of its item.

    Args:
        films: one for each view.

    Returns:
        `films`, a JSON text with the view, place and decisions of each film, and `film_pictures`, their pictures as
        one uint8 tensor (views, `PICTURE_SIZE`, `PICTURE_SIZE`), each in the upper left corner.
    """
    pictures = torch.zeros(len(films), PICTURE_SIZE, PICTURE_SIZE, dtype=torch.uint8)
    entries = []
    for picture, film in zip(pictures, films, strict=True):
        scale = min(1.0, PICTURE_SIZE / max(film.picture.shape))
        rows, columns = (max(1, round(side * scale)) for side in film.picture.shape)
        pixels = torch.from_numpy(np.ascontiguousarray(film.picture, np.float32))[None, None]
        small = interpolate(pixels, (rows, columns), mode="bilinear", antialias=True) if scale < 1 else pixels
        picture[:rows, :columns] = (255 * small[0, 0].clip(0, 1)).round().to(torch.uint8)
        entries.append(
            {
                "view": str(film.view),
                "size": [rows, columns],
                "lungs": None if film.lungs is None else asdict(film.lungs.scaled(scale)),
                "frame": [edge * scale for edge in film.frame],
                "decisions": film.record.to_list(),
                "computed": film.computed,
            }
        )
    return {Keys.FILMS.value: json.dumps(entries), Keys.FILM_PICTURES.value: pictures}


def unpack_films(item: Mapping[Any, Any]) -> list[PlacedFilm]:
    """Return the films that `pack_films` put into an item.

    Args:
        item: one item of a decollated batch.

    Returns:
        One film for each view; none where the item holds no films.
    """
    films = []
    for number, entry in enumerate(json.loads(item.get(Keys.FILMS, "[]"))):
        rows, columns = entry["size"]
        picture = torch.as_tensor(item[Keys.FILM_PICTURES])[number, :rows, :columns].cpu().numpy() / np.float32(255)
        top, bottom, left, right = entry["frame"]
        films.append(
            PlacedFilm(
                View(entry["view"]),
                picture,
                None if entry["lungs"] is None else LungBox(**entry["lungs"]),
                (top, bottom, left, right),
                DecisionRecord.from_list(entry["decisions"], file=entry["view"]),
                entry["computed"],
            )
        )
    return films


def film_notes(films: Sequence[PlacedFilm]) -> list[dict[str, Any]]:
    """Return view and decisions of each film for JSON, as the sidecar of a predicted volume and its page hold them."""
    return [{"view": str(film.view), "decisions": film.record.to_list()} for film in films]
