"""Convert between Hounsfield units and the unit volume."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from .errors import InputError

ArrayOrTensor = TypeVar("ArrayOrTensor", np.ndarray, torch.Tensor)

HU_AIR = -1024.0
"""Value outside the scanned field in HU: the lowest one of a 12-bit CT."""

HU_MAX = 3071.0
"""Highest value of a 12-bit CT in HU."""

HU_WINDOW = (-1024.0, 1476.0)
"""Window of the paper in HU: the authors clip HU + 1024 to [0, 2500] (their CT_MIN_MAX)."""


def hu_to_unit(volume_hu: ArrayOrTensor, window: tuple[float, float] = HU_WINDOW) -> ArrayOrTensor:
    """Clip HU to a window and scale it to [0, 1].

    Args:
        volume_hu: HU, any shape.
        window: (low, high) in HU; low becomes 0, high becomes 1.

    Returns:
        Unit values, same shape.

    Raises:
        InputError: where the window is empty.
    """
    low, high = window
    if not low < high:
        raise InputError(f"a HU window is (low, high) with low below high, got ({low}, {high})")
    return ((volume_hu - low) / (high - low)).clip(0.0, 1.0)


def unit_to_hu(volume_unit: ArrayOrTensor, window: tuple[float, float] = HU_WINDOW) -> ArrayOrTensor:
    """Convert unit values back to HU, the inverse of `hu_to_unit` inside the window.

    Args:
        volume_unit: unit values, any shape; values outside [0, 1] are clipped.
        window: (low, high) in HU.

    Returns:
        HU in [low, high], same shape.

    Raises:
        InputError: where the window is empty.
    """
    low, high = window
    if not low < high:
        raise InputError(f"a HU window is (low, high) with low below high, got ({low}, {high})")
    return volume_unit.clip(0.0, 1.0) * (high - low) + low
