"""Measure what a chest CT covers: lungs whole or cut, the patient within the field of view or beyond."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage

from conventions import LPS_TO_RAS
from readers import LEAST_ML, SKIN_HU, body_mask, lung_mask, mask_box
from transforms import COARSE_MM, block_means

CUT_SHARE = 0.1
"""Area of the lungs in the first or last slice, as a share of their largest, above which the scan cuts them."""

SIDE_SHARE = 0.02
"""Share of a side of the field of view that the patient may touch and still counts as whole."""


def measure_coverage(volume_hu: np.ndarray, affine: np.ndarray, spacing: float) -> tuple[dict[str, Any], np.ndarray]:
    """Find patient and lungs in a CT, and what the scan cuts off.

    Args:
        volume_hu: (D, H, W) HU; D runs to the feet, H to the back, W to the patient's left.
        affine: (4, 4) voxel index to RAS in mm.
        spacing: mm, the same along all axes.

    Returns:
        `cut`, a list of "apices", "bases", "front", "back" and "sides" that the scan cuts off; `lung_litres`,
        `body_litres`, and `lung_centre_lps`, the centre of the box around the lungs in mm, None where there are none;
        and the mask of the patient, (D, H, W) bool.
    """
    step = max(1, round(COARSE_MM / spacing))
    coarse = block_means(volume_hu, [step] * 3)
    voxel_ml = (step * spacing) ** 3 / 1000
    lungs = lung_mask(coarse, step * spacing)
    fine_step = max(1, int(2.0 / spacing))
    body = body_mask(block_means(volume_hu, [fine_step] * 3), fine_step * spacing)
    found = bool(lungs.sum() * voxel_ml >= LEAST_ML)
    cut = _cut_lungs(lungs) if found else []
    cut += _cut_body(body)
    centre = None
    if found:
        voxel = np.reshape(mask_box(lungs), (3, 2)).mean(1) - 0.5
        index = (voxel + 0.5) * step - 0.5
        centre = [round(float(mm), 1) for mm in (affine[:3, :3] @ index + affine[:3, 3]) * LPS_TO_RAS]
    facts = {
        "cut": cut,
        "lung_litres": round(float(lungs.sum() * voxel_ml / 1000), 2) if found else 0.0,
        "body_litres": round(float(body.sum() * (fine_step * spacing) ** 3 / 1e6), 2),
        "lung_centre_lps": centre,
    }
    return facts, _with_skin(body, fine_step, volume_hu)


def _with_skin(body: np.ndarray, step: int, volume_hu: np.ndarray) -> np.ndarray:
    """Return a mask of blocks as one of voxels, with the skin that shares its blocks with air."""
    fine = _as_fine(body, step, volume_hu.shape)
    if step > 1:
        near = _as_fine(ndimage.binary_dilation(body), step, volume_hu.shape)
        near &= volume_hu > SKIN_HU
        fine |= near
    return fine


def _as_fine(mask: np.ndarray, step: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask of blocks as one of voxels; the last blocks go on to the ends."""
    for axis, size in enumerate(shape):
        index = np.minimum(np.arange(size) // step, mask.shape[axis] - 1)
        mask = mask.take(index, axis)
    return mask


def _cut_lungs(lungs: np.ndarray) -> list[str]:
    areas = lungs.sum((1, 2))
    return [name for name, area in (("apices", areas[0]), ("bases", areas[-1])) if area > CUT_SHARE * areas.max()]


def _cut_body(body: np.ndarray) -> list[str]:
    sides = {
        "front": body[:, 0].mean(),
        "back": body[:, -1].mean(),
        "sides": max(body[:, :, 0].mean(), body[:, :, -1].mean()),
    }
    return [name for name, share in sides.items() if share > SIDE_SHARE]
