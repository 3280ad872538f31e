"""From Hounsfield units to linear attenuation."""

from __future__ import annotations

import torch

from conventions import InputError

MU_WATER = 0.0194
"""Linear attenuation of water at 70 keV in 1/mm: NIST's 0.2059 and 0.1837 cm2/g at 60 and 80 keV, interpolated. Near
the effective energy of a 120 kVp CT, for which HU are defined."""

PLASTIMATCH_MU_WATER = 0.022
"""Water in plastimatch's `drr` in 1/mm; the program writes a tenth of the line integral."""

PLASTIMATCH_FLOOR_HU = -800.0
"""plastimatch gives no attenuation to a voxel at or below this, so most of the lung vanishes from its DRRs."""


def _water(volume_hu: torch.Tensor) -> torch.Tensor:
    return (MU_WATER * (1 + volume_hu / 1000)).clamp(min=0)


def _plastimatch(volume_hu: torch.Tensor) -> torch.Tensor:
    mu = PLASTIMATCH_MU_WATER * (1 + volume_hu / 1000)
    return torch.where(volume_hu > PLASTIMATCH_FLOOR_HU, mu, torch.zeros_like(mu))


CURVES = {"water": _water, "plastimatch": _plastimatch}
"""The curves by name: `water` is the definition of HU solved for mu and clipped at 0; `plastimatch` is what the
authors' DRRs were made with, for reproducing them only."""


def hu_to_mu(volume_hu: torch.Tensor, curve: str = "water") -> torch.Tensor:
    """Linear attenuation of a CT.

    Args:
        volume_hu: HU, any shape, floating point.
        curve: a key of `CURVES`.

    Returns:
        mu in 1/mm, same shape, never negative.

    Raises:
        InputError: where the curve is unknown.
    """
    if curve not in CURVES:
        raise InputError(f"unknown attenuation curve {curve!r}: choose one of {', '.join(CURVES)}")
    return CURVES[curve](volume_hu)
