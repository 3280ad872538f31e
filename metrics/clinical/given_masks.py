"""Compare organs found in a predicted volume with masks that a person or a trained network made of the true CT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch

from .overlap import OVERLAP_MEASURES, mask_agreement

COMPARED_MASKS = ("lung_right", "lung_left", "lung", "body", "bone")
"""Structures whose masks are compared; both are found in a prediction without trained weights."""

MASK_MEASURES = (
    *(f"mask_{name}_{measure}" for name in COMPARED_MASKS for measure in (*OVERLAP_MEASURES, "ml_error")),
    "mask_heart_width_mm_error",
)
"""Names of what is measured against given masks: overlap and, predicted less given, volume; the width of the heart."""

PARTS = {
    "lung_right": (("lung_right",), ("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right")),
    "lung_left": (("lung_left",), ("lung_upper_lobe_left", "lung_lower_lobe_left")),
    "lung": (
        ("lung",),
        ("lung_right", "lung_left"),
        (
            "lung_upper_lobe_right",
            "lung_middle_lobe_right",
            "lung_lower_lobe_right",
            "lung_upper_lobe_left",
            "lung_lower_lobe_left",
        ),
    ),
    "body": (("body",), ("body_trunc", "body_extremities")),
    "bone": (("bone",), ("vertebrae_*", "rib_*", "sternum")),
    "heart": (("heart",),),
}
"""Structure -> the sets of masks, as TotalSegmentator names them, of which one makes it up."""

MORE_BONES = ("clavicula_*", "scapula_*", "humerus_*", "sacrum", "hip_*", "femur_*", "skull")
"""Further masks that count as bone where they are given."""


def masks_needed(names: Iterable[str]) -> dict[str, list[str]]:
    """Tell which structures can be compared, and of which masks each is made up.

    Args:
        names: names of the masks that are there.

    Returns:
        Structure, of `PARTS` -> names of its masks; a structure that lacks one is left out.
    """
    there = sorted(set(names))
    needed = {}
    for structure, choices in PARTS.items():
        for patterns in choices:
            parts = [[name for name in there if fnmatchcase(name, pattern)] for pattern in patterns]
            if all(parts):
                needed[structure] = [name for part in parts for name in part]
                break
    if len(needed.get("bone", ())) > 1:
        needed["bone"] += [name for name in there if any(fnmatchcase(name, more) for more in MORE_BONES)]
    return needed


def given_mask_figures(
    found: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], heart_width_mm: float, spacing: float
) -> dict[str, float]:
    """Measure the organs of a prediction against given masks.

    Args:
        found: structure, of `COMPARED_MASKS` -> its mask in the prediction (1, 1, D, H, W) bool.
        given: structure, of `PARTS` -> the given mask, same shape; those that were not given are missing.
        heart_width_mm: width of the heart in the prediction, as `cardiothoracic` measures it.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        Name, of `MASK_MEASURES` -> value; NaN where the mask was not given or is empty.
    """
    values = dict.fromkeys(MASK_MEASURES, float("nan"))
    ml = spacing**3 / 1000
    for name in COMPARED_MASKS:
        if name in given and given[name].any():
            overlap = mask_agreement(found[name], given[name], spacing)
            values.update({f"mask_{name}_{measure}": float(value) for measure, value in overlap.items()})
            values[f"mask_{name}_ml_error"] = float(found[name].sum() - given[name].sum()) * ml
    if "heart" in given and given["heart"].any():
        values["mask_heart_width_mm_error"] = heart_width_mm - shadow_width(given["heart"], spacing)
    return values


def shadow_width(mask: torch.Tensor, spacing: float) -> float:
    """Measure from the farthest point of a mask to the right to the farthest one to the left, in mm.

    Args:
        mask: (..., W) bool, not empty; W runs from the patient's right to the left.
        spacing: voxel spacing in mm.
    """
    columns = mask.flatten(0, -2).any(0).nonzero()
    return float(columns.max() - columns.min() + 1) * spacing
