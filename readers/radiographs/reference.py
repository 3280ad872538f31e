"""Look up what DRRs of CTs are like: the mean thorax, where its lungs lie, and how its tones are spread.

The numbers are in `reference.json`, which `python -m cohort reference FOLDER_OF_CTS` writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from conventions import InputError, View

REFERENCE_FILE = Path(__file__).parent / "reference.json"

TEMPLATE_SIZE = 40
"""Rows and columns of the mean thorax."""

MARGIN = 0.25
"""Margin of the mean thorax around its lung box, in sides of the box."""

QUANTILES = 101
"""Number of quantiles of tones, from the darkest to the brightest in even steps."""

TONE_MARGIN = 0.1
"""Margin around the lung box in which tones are compared, in sides of the box; arms and air next to a patient vary."""


class LungPlace(NamedTuple):
    """Median edges of the lungs in the plane of the isocentre, in mm from the isocentre; rows run to the feet."""

    top: float
    bottom: float
    left: float
    right: float


@cache
def _reference() -> dict[str, Any]:
    return json.loads(REFERENCE_FILE.read_text(encoding="utf-8"))


@cache
def thorax_template(view: View) -> np.ndarray:
    """Return the mean thorax: (TEMPLATE_SIZE, TEMPLATE_SIZE) ranks in [0, 1], bright = dense, lungs in the middle."""
    return np.array(_reference()["thorax"][view], dtype=np.float32) / 255


def lung_place(geometry: str, anchor: str, view: View) -> LungPlace:
    """Return where the lungs of the reference lie in radiographs of a geometry.

    Args:
        geometry: name of a preset.
        anchor: how volumes are laid on the grid, as in `drr.Acquisition`.
        view: view of the radiograph.

    Raises:
        InputError: where the reference has no such entry.
    """
    places = _reference()["lungs"]
    name = f"{geometry} {anchor}"
    if name not in places:
        raise InputError(
            f"no reference for geometry {geometry!r} with anchor {anchor!r}: there are {', '.join(places)}"
        )
    return LungPlace(*(quartiles[1] for quartiles in places[name][view].values()))


def tone_quantiles(geometry: str, curve: str, film_style: str, view: View) -> np.ndarray:
    """Return how the tones of DRRs are distributed around the lungs (`box_of_tones`).

    Args:
        geometry: name of a preset.
        curve: HU -> mu curve.
        film_style: film style.
        view: view of the radiograph.

    Returns:
        (QUANTILES,) film values, rising.

    Raises:
        InputError: where the reference has no such entry.
    """
    tones = _reference()["tones"]
    name = " ".join((geometry, curve, film_style))
    if name not in tones:
        raise InputError(f"no reference tones for {name!r} (geometry, curve, film style): there are {'; '.join(tones)}")
    return np.array(tones[name][view], dtype=np.float32)


def box_of_tones(box: Sequence[float], shape: Sequence[int]) -> tuple[slice, slice]:
    """Return the part of a radiograph in which tones are compared.

    Args:
        box: (top, bottom, left, right) of the lungs in pixels.
        shape: (rows, columns) of the radiograph.

    Returns:
        Slices of the rows and of the columns.
    """
    parts = []
    for (low, high), count in zip((box[:2], box[2:]), shape, strict=True):
        margin = TONE_MARGIN * (high - low)
        parts.append(slice(max(0, round(low - margin)), min(count, round(high + margin))))
    return parts[0], parts[1]


def reference_sources() -> Sequence[str]:
    """Return the names of the CTs that the reference was made of."""
    return list(_reference()["cases"])
