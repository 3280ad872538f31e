"""Find the lungs in a CT by thresholds and connected parts; nothing is learned."""

from __future__ import annotations

import logging

import numpy as np
from scipy import ndimage

from conventions import InputError

from .morphology import WITHIN_SLICES

logger = logging.getLogger("x2ct.ct")

AIR_IN_LUNG_HU = -500
"""Highest HU of a voxel that counts as air."""

CORE_MM = 4.0
"""Depth to which air is eroded, so that lungs come apart from gas below a thin diaphragm."""

GAS_HU, GAS_SHARE = -950, 0.6
"""HU of nearly pure air, and its share above which enclosed air is gas (stomach, bowel, between arm and chest): 63 %
and more in the gas of 20 real CTs, 28 % at most in their lungs, emphysema included."""

TISSUE_SHARE = 0.85
"""Smallest share of tissue around a lung; 94 % and more in real CTs. Foam in a table has tissue on one side only."""

LEAST_SHARE = 0.05
"""Smallest volume of a lung, as a share of the larger one; smaller parts belong to what lies next to them."""

LEAST_ML, LEAST_HEIGHT_MM = 300.0, 100.0
"""Smallest volume and height of lungs that are recognised: the bases in a CT of an abdomen are no chest."""

TRIMMED = 0.15
"""Share of the fullest slice, row or column below which one is cut off the lung box (trachea, thin tips)."""

ONE_SIDED = 0.25
"""Distance from the middle of the body to that of the lung box, as a share of its width, above which it holds one lung
only; 0.05 at most in CTs with two."""


def lung_mask(volume_hu: np.ndarray, spacing: float) -> np.ndarray:
    """Segment the lungs: air inside the body that is not gas in the bowel, a gap beside an arm or foam in a table.

    Air counts as inside if it is enclosed in its axial slice, so that a scan may begin or end within the lungs. Of what
    is enclosed, a lung is what is not nearly pure air, has tissue all around, and reaches above the middle of the
    largest such part. The trachea is kept. Consolidated lung is no air and not part of the mask.

    Args:
        volume_hu: (D, H, W) HU.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        (D, H, W) bool; all False where there are no lungs.
    """
    air = _enclosed_air(volume_hu)
    steps = max(1, round(CORE_MM / spacing))
    cores, count = ndimage.label(ndimage.binary_erosion(air, iterations=steps))
    is_lung = _lungs_among(cores, count, volume_hu, steps)
    if not any(is_lung.values()):
        return np.zeros_like(air)
    [box] = ndimage.find_objects(air.astype(np.uint8))  # nothing outside is asked or counts
    known = np.isin(cores[box], list(is_lung))
    lungs = np.isin(cores[box], [core for core, lung in is_lung.items() if lung])
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    mask = np.zeros_like(air)
    mask[box] = ndimage.binary_propagation(lungs, mask=air[box] & lungs[tuple(nearest)])
    return mask


def mask_box(mask: np.ndarray) -> tuple[int, ...]:
    """Return the box of a mask without its thin tips.

    Args:
        mask: bool, not all False; rows and columns, or (D, H, W).

    Returns:
        First and last edge along each axis in voxels, edges between them: (top, bottom, left, right) for an image.
    """
    edges: list[int] = []
    for axis in range(mask.ndim):
        profile = mask.sum(tuple(set(range(mask.ndim)) - {axis}))
        there = np.flatnonzero(profile > TRIMMED * profile.max())
        edges += [int(there[0]), int(there[-1]) + 1]
    return tuple(edges)


def lung_centre(volume_hu: np.ndarray, spacing: float, name: str) -> np.ndarray:
    """Find the centre of the box around both lungs.

    Where one lung alone holds air, the middle of the body stands for that of both lungs from right to left, with a
    warning.

    Args:
        volume_hu: (D, H, W) HU.
        spacing: voxel spacing in mm, the same along all axes.
        name: file or case that is named in errors and warnings.

    Returns:
        (3,) index of the voxel (d, h, w), fractions allowed.

    Raises:
        InputError: where no lungs are recognised.
    """
    mask = lung_mask(volume_hu, spacing)
    volume_ml = mask.sum() * spacing**3 / 1000
    box = np.reshape(mask_box(mask), (3, 2)) if mask.any() else np.zeros((3, 2))
    height = (box[0, 1] - box[0, 0]) * spacing
    if volume_ml < LEAST_ML or height < LEAST_HEIGHT_MM:
        raise InputError(
            f"{name}: no lungs can be recognised ({volume_ml:.0f} ml of air inside the body, {height:.0f} mm high), so "
            "it cannot be laid by them; give a CT of the chest, or choose the anchor 'centre'"
        )
    centre = box.mean(1) - 0.5
    levels, depths, width = (slice(*edges) for edges in box)
    tissue = (volume_hu[levels, depths] > AIR_IN_LUNG_HU).sum((0, 1))
    inside = np.flatnonzero(tissue > tissue.max() / 2)
    middle = (inside[0] + inside[-1]) / 2
    if abs(middle - centre[2]) > ONE_SIDED * (width.stop - width.start):
        logger.warning("%s: only one lung can be recognised, so the middle of the body is taken for that of both", name)
        centre[2] = middle
    return centre


def _enclosed_air(volume_hu: np.ndarray) -> np.ndarray:
    """Return the air that has no way out of its axial slice, without specks: (D, H, W) bool.

    Lungs that a narrow scan cuts at the patient's right or left count as enclosed.
    """
    air = volume_hu < AIR_IN_LUNG_HU
    labels, count = ndimage.label(air, WITHIN_SLICES)
    sizes, gas = np.bincount(labels.ravel()), np.bincount(labels[volume_hu < GAS_HU], minlength=count + 1)
    enclosed = np.ones(count + 1, bool)
    for side in (labels[:, :, 0], labels[:, :, -1]):
        enclosed[side] = gas[side] <= GAS_SHARE * sizes[side]
    for side in (labels[:, 0], labels[:, -1]):
        enclosed[side] = False
    return ndimage.binary_opening(air & enclosed[labels])


def _lungs_among(cores: np.ndarray, count: int, volume_hu: np.ndarray, steps: int) -> dict[int, bool]:
    """Tell which of the larger cores of enclosed air are lungs: label -> whether it is one.

    Args:
        cores: (D, H, W) labels, 0 elsewhere.
        count: number of labels.
        volume_hu: (D, H, W) HU.
        steps: voxels by which the cores were eroded.
    """
    sizes = np.bincount(cores.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(cores)
    is_lung: dict[int, bool] = {}
    largest, middle = 0.0, 0.0
    for core in np.argsort(-sizes) + 1:
        size, box = sizes[core - 1], boxes[core - 1]
        if size < LEAST_SHARE * (largest or sizes.max()):
            break
        lung = _looks_like_lung(cores, core, box, volume_hu, steps)
        if lung and not largest:
            largest, middle = size, (box[0].start + box[0].stop) / 2
        is_lung[int(core)] = lung and box[0].start < middle
    return is_lung


def _looks_like_lung(cores: np.ndarray, core: int, box: tuple[slice, ...], volume_hu: np.ndarray, steps: int) -> bool:
    """Tell whether a core is no pure air and lies in tissue."""
    around = tuple(slice(max(0, edges.start - 5 * steps), edges.stop + 5 * steps) for edges in box)
    inside, values = cores[around] == core, volume_hu[around]
    if np.mean(values[inside] < GAS_HU) > GAS_SHARE:
        return False
    near = ndimage.binary_dilation(inside, iterations=3 * steps)
    shell = ndimage.binary_dilation(near, iterations=steps) & ~near
    return bool(np.mean(values[shell] > AIR_IN_LUNG_HU) > TISSUE_SHARE)
