"""Define the views, the axes of a volume, and the permutations between them.

A volume tensor is (B, 1, D, H, W): D runs from head to feet, H from front to back, W from the patient's right to the
patient's left. Radiographs are (B, views, rows, columns) with view 0 = PA, view 1 = lateral; rows run with D, the
columns of the PA with W and the columns of the lateral with H. This is the frame of the authors' weights
(X2CT-GAN, Ying et al. 2019, section 3.2).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Optional

import torch


class View(StrEnum):
    """A radiographic direction, in the order in which views are stacked."""

    PA = "pa"
    LATERAL = "lateral"


MAX_VIEWS = 8
"""Largest number of radiographs of one case."""

AXIS_DIRECTIONS_LPS = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Unit vectors (x, y, z) in LPS along increasing D (to the feet), H (to the back) and W (to the patient's left)."""

LPS_TO_RAS = (-1.0, -1.0, 1.0)
"""Signs that turn an LPS position (DICOM, ITK) into a RAS position (NIfTI, MONAI affines), and back."""

VOLUME_TO_VIEW = {View.PA: (0, 1, 3, 2, 4), View.LATERAL: (0, 1, 4, 2, 3)}
"""Permutation of (B, C, D, H, W) to a view's frame (B, C, depth along the ray, rows, columns)."""

VIEW_TO_VOLUME = {View.PA: (0, 1, 3, 2, 4), View.LATERAL: (0, 1, 3, 4, 2)}
"""Permutation of a view's frame (B, C, depth, rows, columns) back to (B, C, D, H, W)."""


def expand_views(image: torch.Tensor, depth: int, to_volume: Optional[list[list[int]]] = None) -> torch.Tensor:
    """Repeat each radiograph along its ray axis, so that it lies over the volume it shows.

    Args:
        image: radiographs (B, views, rows, columns).
        depth: number of voxels along the ray axes.
        to_volume: permutation of each view's frame to that of the volume, as in `VIEW_TO_VOLUME`; None is PA and
            lateral. TorchScript, which reads no dictionaries of a module, needs it.

    Returns:
        (B, views, D, H, W), one channel a view.

    Raises:
        ValueError: where `image` holds more radiographs than there are permutations.
    """
    if torch.jit.is_scripting():
        assert to_volume is not None
    elif to_volume is None:
        to_volume = [list(VIEW_TO_VOLUME[view]) for view in View]
    if image.shape[1] > len(to_volume):
        raise ValueError(f"image holds {image.shape[1]} radiographs, but the axes of {len(to_volume)} views are known")
    lifted = [
        image[:, i : i + 1, None].expand(-1, -1, depth, -1, -1).permute(to_volume[i]) for i in range(image.shape[1])
    ]
    return torch.cat(lifted, dim=1)
