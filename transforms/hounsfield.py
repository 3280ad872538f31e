"""Scale HU to the network's unit values and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.config import KeysCollection
from monai.transforms import Transform

from conventions import HU_WINDOW, hu_to_unit, unit_to_hu

from .dictionary import EachKey


class HUWindow(Transform):
    """Clip HU to a window and scale it to [0, 1].

    Args:
        window: (low, high) in HU; the default is the paper's.
    """

    def __init__(self, window: Sequence[float] = HU_WINDOW) -> None:
        self.window = (float(window[0]), float(window[1]))

    def __call__(self, volume_hu: torch.Tensor) -> torch.Tensor:
        """Scale a volume in HU, any shape, to unit values; values outside the window are clipped."""
        return hu_to_unit(volume_hu, self.window)


class UnitToHU(Transform):
    """Scale unit values back to HU, the inverse of `HUWindow`.

    Args:
        window: (low, high) in HU; the default is the paper's.
    """

    def __init__(self, window: Sequence[float] = HU_WINDOW) -> None:
        self.window = (float(window[0]), float(window[1]))

    def __call__(self, volume_unit: torch.Tensor) -> torch.Tensor:
        """Scale unit values, any shape, to HU; values outside [0, 1] are clipped."""
        return unit_to_hu(volume_unit, self.window)


class HUWindowd(EachKey):
    """Dictionary-based `HUWindow`.

    Args:
        keys: keys of the volumes.
        window: as in `HUWindow`.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(
        self, keys: KeysCollection, window: Sequence[float] = HU_WINDOW, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, HUWindow(window), allow_missing_keys)


class UnitToHUd(EachKey):
    """Dictionary-based `UnitToHU`.

    Args:
        keys: keys of the volumes.
        window: as in `UnitToHU`.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(
        self, keys: KeysCollection, window: Sequence[float] = HU_WINDOW, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, UnitToHU(window), allow_missing_keys)
