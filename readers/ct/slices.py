"""Gather the slices of a CT in as little memory as they need."""

from __future__ import annotations

import numpy as np

LARGEST = np.iinfo(np.int16).max
"""Largest size of a whole number that is kept as int16."""


class SliceStack:
    """Slices of a CT, kept as int16 for as long as it holds every value exactly, else as float32.

    Nearly all CTs are whole numbers, and int16 takes half the memory.

    Args:
        shape: slices, rows and columns.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._voxels: np.ndarray = np.empty(shape, np.int16)
        self._count = 0

    def add(self, values: np.ndarray) -> None:
        """Add the next slice.

        Args:
            values: (rows, columns) float32.
        """
        if self._voxels.dtype == np.int16 and not _whole(values):
            wider = np.empty(self._voxels.shape, np.float32)
            wider[: self._count] = self._voxels[: self._count]
            self._voxels = wider
        self._voxels[self._count] = values
        self._count += 1

    def volume(self) -> np.ndarray:
        """Return what was added as (X, Y, Z), columns, rows and slices: int16 or float32."""
        return self._voxels.transpose(2, 1, 0)


def _whole(values: np.ndarray) -> bool:
    """Return whether int16 holds all values exactly; NaN and infinite ones it does not."""
    return bool(np.abs(values).max() <= LARGEST and (np.rint(values) == values).all())
