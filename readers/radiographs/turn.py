"""Turn an image by quarter turns and mirroring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Turn:
    """Turn that brings an image upright.

    Args:
        transposed: whether rows and columns change places, before the rest.
        mirrored: whether columns are reversed.
        overturned: whether rows are reversed.
    """

    transposed: bool = False
    mirrored: bool = False
    overturned: bool = False

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Turn (rows, columns, ...)."""
        image = image.swapaxes(0, 1) if self.transposed else image
        return image[:: -1 if self.overturned else 1, :: -1 if self.mirrored else 1]


BY_ORIENTATION = {
    1: Turn(),
    2: Turn(mirrored=True),
    3: Turn(mirrored=True, overturned=True),
    4: Turn(overturned=True),
    5: Turn(transposed=True),
    6: Turn(transposed=True, mirrored=True),
    7: Turn(transposed=True, mirrored=True, overturned=True),
    8: Turn(transposed=True, overturned=True),
}
"""Orientation of TIFF and Exif (tag 274) -> turn that brings the stored image upright."""
