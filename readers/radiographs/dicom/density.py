"""Turn stored values into density, bright = dense (PS3.3 C.7.6.3, C.8.11)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .header import Header
from .lookup import apply_voi, to_modality

AIR_PERCENTILE = 99.9
"""Percentile of the exposure outside the patient."""

LEAST_TRANSMISSION = 1e-4
"""Smallest share of the exposure that passes a chest; below it lie noise and lead."""


def to_density(file: Path, header: Header, stored: np.ndarray, valid: np.ndarray, window: int) -> np.ndarray:
    """Turn stored values into density, bright = dense, up to a linear scale.

    Args:
        file: named in errors.
        header: tags of the film.
        stored: (rows, columns), the stored values.
        valid: (rows, columns), false where shutter, collimator or padding lie.
        window: number of the window or VOI look-up table to apply, where the file has several.

    Returns:
        (rows, columns) float32.

    Raises:
        InputError: as in `to_modality`, and where there are fewer windows.
    """
    values = to_modality(file, header, stored)
    if header.text("PresentationIntentType") == "FOR PROCESSING":
        return _attenuation(header, values, valid, _range(file, header)).astype(np.float32)
    shown = apply_voi(file, header, values, valid, window)
    return (-shown if _is_inverse(header) else shown).astype(np.float32)


def _range(file: Path, header: Header) -> tuple[float, float]:
    """Return the modality values of the lowest and the highest value that the stored bits can hold."""
    stored = int(header.number("BitsStored") or 16)
    low = -(2 ** (stored - 1)) if header.number("PixelRepresentation") == 1 else 0
    ends = to_modality(file, header, np.array([low, low + 2**stored - 1]))
    return float(ends.min()), float(ends.max())


def _is_inverse(header: Header) -> bool:
    """Return whether low values are dense, decided once from PhotometricInterpretation and PresentationLUTShape."""
    photometric, shape = header.text("PhotometricInterpretation"), header.text("PresentationLUTShape")
    dark = photometric == "MONOCHROME1"
    if dark and shape == "IDENTITY":
        header.record.doubt(
            "polarity", "MONOCHROME1 contradicts the Presentation LUT shape IDENTITY; MONOCHROME1 is taken"
        )
    if not dark and shape == "INVERSE":
        header.record.doubt("polarity", "MONOCHROME2 contradicts the Presentation LUT shape INVERSE; INVERSE is taken")
        dark = True
    if dark:
        header.record.changed(
            "polarity", f"inverted, since the file says {photometric if shape != 'INVERSE' else shape}"
        )
    else:
        header.record.found("polarity", f"{photometric}: bright is dense")
    return dark


def _attenuation(header: Header, values: np.ndarray, valid: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Turn a FOR PROCESSING image into attenuation by Pixel Intensity Relationship (0028,1040) and Sign (0028,1041)."""
    record = header.record
    relationship, sign = header.text("PixelIntensityRelationship"), header.number("PixelIntensityRelationshipSign")
    dark = header.text("PhotometricInterpretation") == "MONOCHROME1"
    if sign not in (1, -1):
        sign = 1 if dark else -1
        record.assumed("polarity", "the sign of the intensity is not stated; the photometric interpretation is taken")
    if (sign == 1) != dark:
        record.found(
            "polarity", "the sign of the intensity differs from the photometric interpretation; the sign is taken"
        )
    if relationship == "LIN":
        exposure = values if sign == 1 else ends[0] + ends[1] - values
        air = max(float(np.percentile(exposure[valid], AIR_PERCENTILE)), 1e-30)
        record.changed("tone", "FOR PROCESSING, linear in exposure: turned into attenuation by the logarithm")
        return -np.log((exposure / air).clip(LEAST_TRANSMISSION, 1))
    if relationship in ("LOG", "DISP"):
        record.found("tone", f"FOR PROCESSING, relationship {relationship}: taken as it is but for scale")
    else:
        record.doubt("tone", "FOR PROCESSING, without a known intensity relationship: taken for logarithmic")
    return -values if sign == 1 else values
