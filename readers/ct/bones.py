"""Find the bones in a CT by thresholds and connected parts; nothing is learned."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .morphology import filled

BONE_HU, CORTEX_HU = 200.0, 400.0
"""Lowest HU of a voxel of bone, and that which a part must reach somewhere. Blood with contrast medium above the lower
one counts as bone where it touches bone or is that dense itself."""

LEAST_BONE_ML = 1.0
"""Smallest volume of a part that is kept; calcified vessels and nodes are smaller."""


def bone_mask(volume_hu: np.ndarray, spacing: float) -> np.ndarray:
    """Segment the bones: what is dense, reaches the density of cortex and is no speck, with the marrow it encloses.

    Args:
        volume_hu: (D, H, W) HU of the patient; a table of metal would count as bone.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        (D, H, W) bool; all False where there is nothing as dense as bone.
    """
    labels, count = ndimage.label(volume_hu > BONE_HU, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    dense = np.bincount(labels[volume_hu > CORTEX_HU], minlength=count + 1) > 0
    bones = dense & (sizes * spacing**3 / 1000 >= LEAST_BONE_ML)
    return filled(bones[labels])
