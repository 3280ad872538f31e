"""Convert Hounsfield units to linear attenuation, and to the two materials of a polychromatic beam.

Mass attenuation coefficients are NIST's (Hubbell and Seltzer, NISTIR 5632, table 4: water, and cortical bone of ICRU-44
at 1.92 g/cm3), interpolated in log-log between their energies.
"""

from __future__ import annotations

import inspect

import torch

from conventions import InputError

MU_WATER = 0.0194
"""Linear attenuation of water at 70 keV in 1/mm: NIST's 0.2059 and 0.1837 cm2/g at 60 and 80 keV, interpolated. It is
near the effective energy of a 120 kVp CT, for which HU are defined."""

BONE_HU = 1590.0
"""HU of cortical bone in a CT at 70 keV: 0.2616 cm2/g * 1.92 g/cm3 = 0.0502/mm over water's 0.0194/mm."""

MU_WATER_60_KEV = 0.0206
"""Linear attenuation of water at 60 keV in 1/mm, about the effective energy of a chest radiograph."""

MU_BONE_60_KEV = 0.0604
"""Linear attenuation of cortical bone at 60 keV in 1/mm: NIST's 0.3148 cm2/g * 1.92 g/cm3."""

PLASTIMATCH_MU_WATER = 0.022
"""Linear attenuation of water in plastimatch's `drr` in 1/mm; the program writes a tenth of the line integral."""

PLASTIMATCH_FLOOR_HU = -800.0
"""Highest HU to which plastimatch gives no attenuation, so that most of the lung vanishes from its DRRs."""


def _water(volume_hu: torch.Tensor, mu_water: float = MU_WATER) -> torch.Tensor:
    return (mu_water * (1 + volume_hu / 1000)).clamp(min=0)


def _bone(
    volume_hu: torch.Tensor,
    mu_water: float = MU_WATER_60_KEV,
    knee_hu: float = 0.0,
    slope: float = (MU_BONE_60_KEV - MU_WATER_60_KEV) / BONE_HU,
) -> torch.Tensor:
    soft = mu_water * (1 + volume_hu / 1000)
    at_knee = mu_water * (1 + knee_hu / 1000)
    return torch.where(volume_hu > knee_hu, at_knee + slope * (volume_hu - knee_hu), soft).clamp(min=0)


def _plastimatch(volume_hu: torch.Tensor) -> torch.Tensor:
    mu = PLASTIMATCH_MU_WATER * (1 + volume_hu / 1000)
    return torch.where(volume_hu > PLASTIMATCH_FLOOR_HU, mu, torch.zeros_like(mu))


CURVES = {"water": _water, "bone": _bone, "plastimatch": _plastimatch}
"""Attenuation curves by name. `water` (parameter mu_water) is the definition of HU solved for mu and clipped at 0.
`bone` (mu_water, knee_hu, and slope in 1/mm per HU above the knee) is bilinear, for a beam of another energy than the
CT's; by default for a radiograph of 60 keV. `plastimatch` made the authors' DRRs and serves to reproduce them only."""


def _check_curve(curve: str) -> None:
    if curve not in CURVES:
        raise InputError(f"unknown attenuation curve {curve!r}: choose one of {', '.join(CURVES)}")


def hu_to_mu(volume_hu: torch.Tensor, curve: str = "water", **parameters: float) -> torch.Tensor:
    """Convert HU to linear attenuation.

    Args:
        volume_hu: HU, any shape, floating point.
        curve: a key of `CURVES`.
        **parameters: parameters of the curve, as `CURVES` names them.

    Returns:
        mu in 1/mm, same shape, never negative. 100 mm of water (0 HU) make a line integral of 100 mu_water.

    Raises:
        InputError: where the curve or a parameter is unknown.
    """
    _check_curve(curve)
    allowed = list(inspect.signature(CURVES[curve]).parameters)[1:]
    unknown = sorted(set(parameters) - set(allowed))
    if unknown:
        raise InputError(
            f"curve {curve!r} has no parameter {', '.join(unknown)}: it has {', '.join(allowed) or 'none'}"
        )
    return CURVES[curve](volume_hu, **parameters)


def mu_to_hu(mu: torch.Tensor, curve: str = "water") -> torch.Tensor:
    """Convert linear attenuation back to HU, the inverse of `hu_to_mu` with a curve's default parameters.

    Args:
        mu: linear attenuation in 1/mm, any shape.
        curve: a key of `CURVES`. Where `plastimatch` gives no attenuation, its straight line is continued to 0.

    Returns:
        HU, same shape; 0 becomes -1000.

    Raises:
        InputError: where the curve is unknown.
    """
    _check_curve(curve)
    of_water = {"water": MU_WATER, "bone": MU_WATER_60_KEV, "plastimatch": PLASTIMATCH_MU_WATER}[curve]
    volume_hu = 1000 * (mu / of_water - 1)
    if curve == "bone":
        bone = (mu - MU_WATER_60_KEV) * (BONE_HU / (MU_BONE_60_KEV - MU_WATER_60_KEV))
        return torch.where(mu > MU_WATER_60_KEV, bone, volume_hu)
    return volume_hu


def material_densities(volume_hu: torch.Tensor) -> torch.Tensor:
    """Split a CT into water and cortical bone, for `harden_beam`.

    Up to 0 HU a voxel is water of lower density; above, a mixture of water and bone by volume.

    Args:
        volume_hu: HU, (B, 1, D, H, W).

    Returns:
        (B, 2, D, H, W): density of water and of cortical bone relative to the pure material, dimensionless. Projected
        channel by channel, they give the mm of each.
    """
    bone = (volume_hu / BONE_HU).clamp(min=0)
    water = torch.where(volume_hu > 0, 1 - bone, 1 + volume_hu / 1000).clamp(min=0)
    return torch.cat([water, bone], dim=-4)
