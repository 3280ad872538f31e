"""Radiograph as it is read: pixels, geometry, and the decisions behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conventions import Mark, View

from ..record import DecisionRecord


@dataclass
class Film:
    """A radiograph as it is read.

    Args:
        pixels: (rows, columns) float32 in [0, 1], bright = dense, square pixels, upright; PA with the patient's left on
            the image's right, lateral with the front at the left, as far as the file says.
        view: view that the film is taken for.
        record: every decision about the film.
        spacing: mm per pixel at the detector; None where unknown.
        magnification: magnification from the patient's mid-plane to the detector; None where unknown.
        computed: mark of a DRR, whose pixels are film values and were neither scaled nor cropped; None for a real film.
        tagged: view that the file itself states; None where it states none.
        patient_key: salted hash of the patient, only to compare two films of one run.
        date_key: salted hash of the study's date, only to compare two films of one run.
        valid: (rows, columns) bool, false behind padding, shutter, collimator and plain frames; None if all is valid.
    """

    pixels: np.ndarray
    view: View
    record: DecisionRecord
    spacing: float | None = None
    magnification: float | None = None
    computed: Mark | None = None
    tagged: View | None = None
    patient_key: str | None = None
    date_key: str | None = None
    valid: np.ndarray | None = None
