"""Views, the axes of a volume, and the permutations between them.

A volume tensor is (B, 1, D, H, W): D runs from head to feet, H from front to back, W from the patient's right to the
patient's left. Radiographs are (B, views, rows, columns) with view 0 = PA, view 1 = lateral; rows run with D, the
columns of the PA with W and the columns of the lateral with H. This is the frame of the authors' weights
(X2CT-GAN, Ying et al. 2019, section 3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import torch


class View(StrEnum):
    """A radiographic direction, in the order in which views are stacked."""

    PA = "pa"
    LATERAL = "lateral"


AXIS_DIRECTIONS_LPS = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Unit vectors (x, y, z) in LPS along increasing D (to the feet), H (to the back) and W (to the patient's left)."""

LPS_TO_RAS = (-1.0, -1.0, 1.0)
"""Signs that turn an LPS position (DICOM, ITK) into a RAS position (NIfTI, MONAI affines), and back."""

VOLUME_TO_VIEW = {View.PA: (0, 1, 3, 2, 4), View.LATERAL: (0, 1, 4, 2, 3)}
"""Permutation of (B, C, D, H, W) to a view's frame (B, C, depth along the ray, rows, columns)."""

VIEW_TO_VOLUME = {View.PA: (0, 1, 3, 2, 4), View.LATERAL: (0, 1, 3, 4, 2)}
"""Permutation of a view's frame (B, C, depth, rows, columns) back to (B, C, D, H, W)."""


def expand_views(image: torch.Tensor, depth: int, views: Sequence[View] = tuple(View)) -> torch.Tensor:
    """Repeat each radiograph along its ray axis, so that it lies over the volume it shows.

    Args:
        image: radiographs (B, views, rows, columns).
        depth: number of voxels along the ray axes.
        views: what each channel of `image` is.

    Returns:
        (B, views, D, H, W), one channel a view.

    Raises:
        ValueError: where `image` holds more channels than there are views.
    """
    if image.shape[1] > len(views):
        raise ValueError(f"image holds {image.shape[1]} radiographs, but only the views {list(views)} are named")
    lifted = [
        image[:, i, None, None].expand(-1, -1, depth, -1, -1).permute(VIEW_TO_VOLUME[view])
        for i, view in enumerate(views[: image.shape[1]])
    ]
    return torch.cat(lifted, dim=1)
