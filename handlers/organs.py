"""Segment the organs of a volume of an evaluation."""

from __future__ import annotations

import torch

from metrics import ORGANS
from readers import body_mask, bone_mask, lung_mask


def segment_organs(volume_hu: torch.Tensor, spacing: float) -> dict[str, torch.Tensor]:
    """Segment lungs, body and bones by thresholds and connected parts.

    Args:
        volume_hu: (1, 1, D, H, W) HU.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        Organ, of `metrics.ORGANS` -> its mask (1, 1, D, H, W) bool.
    """
    array = volume_hu[0, 0].cpu().numpy()
    lungs = lung_mask(array, spacing)
    body = body_mask(array, spacing) | lungs  # a lung that the cube cuts leaves the body open
    bones = bone_mask(array, spacing) & body
    masks = dict(zip(ORGANS, (lungs, body, bones), strict=True))
    return {organ: torch.from_numpy(mask)[None, None].to(volume_hu.device) for organ, mask in masks.items()}
