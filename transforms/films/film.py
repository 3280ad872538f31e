"""One radiograph as it is read: pixels, what is known of its geometry, and how that came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from conventions import View

from .record import DecisionRecord


@dataclass
class Film:
    """One radiograph.

    Args:
        pixels: (rows, columns) float32 in [0, 1], bright = dense, square pixels, upright; PA with the patient's left on
            the image's right, lateral with the front at the left, as far as the file tells.
        view: what it is taken for.
        record: how each of these was decided.
        spacing: mm per pixel at the detector; None where unknown.
        magnification: from the patient's mid-plane to the detector; None where unknown.
        computed: what a radiograph computed from a CT says of itself (geometry, curve, film, view); its pixels are film
            values and were neither scaled nor cropped. None for a real film.
        tagged: view that the file itself states; None where it states none.
        patient_key: salted hash of the patient, only to compare two films of one run.
        date_key: salted hash of the study's date, likewise.
    """

    pixels: np.ndarray
    view: View
    record: DecisionRecord
    spacing: float | None = None
    magnification: float | None = None
    computed: dict[str, Any] | None = None
    tagged: View | None = None
    patient_key: str | None = None
    date_key: str | None = None
