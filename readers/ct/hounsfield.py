"""Check that values are Hounsfield units, and undo an offset that is recognised."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conventions import InputError

from ..record import DecisionRecord

AIR_HU = (-1100.0, -500.0)
"""Range of air and lung in HU; scanner padding (-2000 and below) lies outside."""

TISSUE_HU = (-200.0, 300.0)
"""Range of fat and soft tissue in HU."""

MIN_SHARE = 0.01
"""Smallest share of the voxels of a chest CT in each of the two ranges; an image with less is not in HU."""

DARKEST, DARKEST_HU = 0.1, -890.0
"""Percentile of the voxels above padding, and the HU that it reaches at most: -1000 or less in 20 real CTs."""

PEAK_HU = (-150.0, 130.0)
"""Range of the most frequent value of fat and soft tissue; -117 to 62 in 20 real CTs."""

OFFSETS = (1000, 1024)
"""Offsets that are added to HU to store them as unsigned numbers."""

AIR_PEAK = 8
"""Largest distance of the air around the patient from -1000 HU where an offset is recognised. In two of 20 real CTs the
distance is larger, 11 and 19, and half of what the two offsets differ by is 12."""

SAMPLED = 4_000_000
"""Number of voxels, about, from which shares and peaks are taken."""


def undo_offset(voxels: np.ndarray, record: DecisionRecord) -> None:
    """Subtract an offset of 1000 or 1024 from values that are HU plus this offset.

    The lowest value and the peak of the air around the patient must both say which one it is. HU of a CT begin at
    -1024, so with 1024 nothing lies below 0, and with 1000 something does, down to -24.

    Args:
        voxels: (X, Y, Z), int16 or float32; changed in place.
        record: takes a doubt where an offset is undone.
    """
    values = _sample(voxels)
    shown = values[values > AIR_HU[0]]
    if shown.size == 0 or _shares(values).min() >= MIN_SHARE:
        return
    lowest, air = float(shown.min()), _peak(shown[(shown != shown.min()) | (shown.min() > 0)], (-100, 100))
    for offset in OFFSETS:
        fits = lowest >= 0 if offset == 1024 else -24 <= lowest < -AIR_PEAK
        if fits and abs(air - (offset - 1000)) <= AIR_PEAK and _shares(values - offset).min() >= MIN_SHARE:
            np.maximum(voxels, np.iinfo(np.int16).min + offset, out=voxels)  # int16 would turn over in the padding
            voxels -= offset
            record.doubt(
                "HU", f"no value lies below {lowest:g} and air lies at {air:g}: HU + {offset}; {offset} is subtracted"
            )
            return


def check_hu(file: Path, voxels: np.ndarray, record: DecisionRecord) -> None:
    """Refuse voxels whose values are not those of a chest CT in HU.

    Args:
        file: named in the error.
        voxels: (X, Y, Z) values as stored, rescaled by the file's own slope and intercept.
        record: takes a doubt about peaks that are not where fat and soft tissue lie.

    Raises:
        InputError: naming the file and the values met.
    """
    values = _sample(voxels)
    shares = _shares(values)
    if shares.min() < MIN_SHARE:
        raise InputError(
            f"{file}: values run from {voxels.min():g} to {voxels.max():g}, {shares[0]:.0%} of them like air or lung "
            f"and {shares[1]:.0%} like tissue, so this is not a chest CT in Hounsfield units "
            "(air about -1000, tissue about 0); apply the rescale slope and intercept first"
        )
    darkest = float(np.percentile(values[values > AIR_HU[0]], DARKEST))
    if darkest > DARKEST_HU:
        raise InputError(
            f"{file}: its air lies at {darkest:.0f}, that of a CT in Hounsfield units at -1000; subtract the offset, "
            "or export it with its rescale slope and intercept"
        )
    peak = _peak(values, (-400, 400))
    if not PEAK_HU[0] <= peak <= PEAK_HU[1]:
        record.doubt(
            "HU", f"the most frequent tissue lies at {peak:g} HU, that of a CT between fat (-100) and muscle (50)"
        )


def _sample(voxels: np.ndarray) -> np.ndarray:
    """Return a regular sample of the voxels of a volume, flat, as float32."""
    step = max(1, round((voxels.size / SAMPLED) ** (1 / 3)))
    return voxels[::step, ::step, ::step].ravel().astype(np.float32, copy=False)


def _shares(values: np.ndarray) -> np.ndarray:
    """Return the shares of values like air or lung, and like tissue."""
    return np.array([np.mean((values > low) & (values < high)) for low, high in (AIR_HU, TISSUE_HU)])


def _peak(values: np.ndarray, within: tuple[int, int], width: int = 9) -> float:
    """Return the most frequent whole value within a range, smoothed over `width` values; NaN where there is none."""
    inside = values[(values >= within[0]) & (values <= within[1])]
    counts = np.bincount(np.round(inside - within[0]).astype(int), minlength=within[1] - within[0] + 1)
    if not counts.any():
        return float("nan")
    smooth = np.convolve(counts, np.ones(width), "same")
    highest = np.flatnonzero(smooth == smooth.max())
    return float(within[0] + (highest[0] + highest[-1]) // 2)
