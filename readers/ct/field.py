"""Find what lies outside the field of a CT and was filled with one value, and make it air."""

from __future__ import annotations

from itertools import count, product

import numpy as np
from scipy import ndimage

from conventions import HU_AIR

from ..record import DecisionRecord
from .hounsfield import MIN_SHARE, TISSUE_HU

MAX_FILL_HU = -900.0
"""HU up to which a fill is air already."""

MIN_CORNER = 0.1
"""Smallest share of exactly one value, on the twelve edges of the volume, that is taken for a fill. Patients reach an
edge in narrow scans alone, and have noise there."""

MIN_AGREEMENT = 0.5
"""Smallest share of this value among what is denser than air there."""


def fill_outside(voxels: np.ndarray, record: DecisionRecord) -> None:
    """Make air of what lies outside the field, where it was filled with one denser value, such as 0.

    A volume that was turned has such corners, and so has a round field of reconstruction. In a film they would be a
    block of water.

    Args:
        voxels: (X, Y, Z) HU, int16 or float32; changed in place.
        record: takes a doubt where something is changed.
    """
    lines = [_line(axis, ends) for axis in range(3) for ends in product((0, -1), repeat=2)]
    values = np.concatenate([voxels[line] for line in lines])
    dense = values[values > MAX_FILL_HU]
    if dense.size < MIN_CORNER * values.size:
        return
    found, counts = np.unique(dense, return_counts=True)
    if counts.max() < max(MIN_CORNER * values.size, MIN_AGREEMENT * dense.size):
        return
    value = found[counts.argmax()]
    fill = np.zeros_like(voxels, bool)
    for line in lines:
        fill[line] = voxels[line] == value
    _spread(fill, voxels, value)
    tissue = sum(
        np.count_nonzero((values > TISSUE_HU[0]) & (values < TISSUE_HU[1]) & ~filled)
        for values, filled in zip(_planes(voxels), _planes(fill), strict=True)
    )
    if tissue < MIN_SHARE * voxels.size:
        return  # it is the patient
    voxels[fill] = HU_AIR
    record.doubt(
        "field",
        f"{fill.mean():.0%} of the volume, from its edges on, is exactly {value:g} HU; it lies outside the field and "
        "becomes air",
    )


def _spread(fill: np.ndarray, voxels: np.ndarray, value: float) -> None:
    """Spread a mask to all voxels of one value that its own touch by their faces, up and down through the slices.

    One slice at a time: a search through the whole volume needs several masks of its size.

    Args:
        fill: (X, Y, Z) bool; changed in place.
        voxels: (X, Y, Z) HU.
        value: the value.
    """
    slices = list(zip(_planes(fill), _planes(voxels), strict=True))
    for sweep in count():
        before, changed = np.zeros_like(fill[..., 0]), False
        for filled, values in slices if sweep % 2 == 0 else reversed(slices):
            same = values == value
            seeds = filled | (before & same)
            if sweep == 0 or np.count_nonzero(seeds) > np.count_nonzero(filled):
                filled[...] = ndimage.binary_propagation(seeds, mask=same)
                changed = True
            before = filled
        if not changed:
            return


def _planes(volume: np.ndarray) -> np.ndarray:
    """Return a volume as a sequence of its slices, which readers store one after the other."""
    return np.moveaxis(volume, -1, 0)


def _line(axis: int, ends: tuple[int, ...]) -> tuple[int | slice, ...]:
    """Return the index of an edge of the volume along an axis, at the given ends of the two others."""
    index: list[int | slice] = list(ends)
    index.insert(axis, slice(None))
    return tuple(index)
