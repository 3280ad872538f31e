"""Turn line integrals into the look of a film, float images in [0, 1], bright = dense, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from conventions import InputError

LINEAR_MAX = 8.0
"""Line integral that film style `linear` shows as 1; a PA chest reaches about 6."""

LOGISTIC_MIDDLE = 3.0
"""Line integral that film style `logistic` shows as middle grey: between lung (about 1.5) and mediastinum (above 4)."""

LOGISTIC_SLOPE = 0.8
"""Slope of film style `logistic`, the logistic curve of a film's density over log exposure."""

SATURATED = 1 / 512
"""Distance from film value 1 within which a pixel counts as clipped: half a grey level of an 8-bit file."""

PHOTOMETRIC = ("MONOCHROME2", "MONOCHROME1")
"""Photometric interpretations (DICOM 0028,0004): high values are bright, or dark."""

SPECTRUM = {
    # keV: (share of the photons, water 1/mm, cortical bone 1/mm)
    50: (0.35, 0.02269, 0.0814),
    60: (0.35, 0.02059, 0.0604),
    80: (0.30, 0.01837, 0.0428),
}
"""Default spectrum for `harden_beam`, a coarse stand-in for a filtered chest beam of 100 to 125 kVp: NIST's
coefficients at three energies, the shares a rough choice of ours. It gives the sign and size of beam hardening, no
dosimetry."""


SHADOW = 0.1
"""Line integral above which a ray counts as behind the patient."""

SCATTER_REACH = 6.0
"""Distance in standard deviations beyond which scatter is neglected; e^-18 is below float32."""


def _linear(line_integrals: torch.Tensor) -> torch.Tensor:
    return line_integrals.clamp(0, LINEAR_MAX) / LINEAR_MAX


def _transmission(line_integrals: torch.Tensor) -> torch.Tensor:
    return 1 - torch.exp(-line_integrals.clamp(min=0))


def _logistic(line_integrals: torch.Tensor) -> torch.Tensor:
    return torch.sigmoid(LOGISTIC_SLOPE * (line_integrals.clamp(min=0) - LOGISTIC_MIDDLE))


def _x2ct(line_integrals: torch.Tensor) -> torch.Tensor:
    maximum = line_integrals.amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(line_integrals.dtype).tiny)
    grey = line_integrals / maximum
    eight_bit = torch.floor(grey.clamp(0, 1) * 255) / 255
    # The 8-bit steps have no slope; the gradient passes as if there were none.
    return grey + (eight_bit - grey).detach()


FILM_STYLES = {"linear": _linear, "logistic": _logistic, "transmission": _transmission, "x2ct": _x2ct}
"""Film styles by name. Three have fixed limits, the same for every patient: `linear` clips to [0, 8] and divides by 8,
so that absolute attenuation is kept; `logistic` is a film's curve over log exposure; `transmission` is 1 - e^-p, the
share of photons stopped. `x2ct` is the authors' 8-bit image divided by its own maximum, which keeps only contrast."""


_INVERSES = {
    "linear": lambda film: LINEAR_MAX * film,
    "logistic": lambda film: LOGISTIC_MIDDLE + torch.logit(film, eps=1e-6) / LOGISTIC_SLOPE,
    "transmission": lambda film: -torch.log1p(-film),
}


def _check_style(style: str) -> None:
    if style not in FILM_STYLES:
        raise InputError(f"unknown film style {style!r}: choose one of {', '.join(FILM_STYLES)}")


def to_film(
    line_integrals: torch.Tensor,
    style: str = "linear",
    *,
    photometric: str = "MONOCHROME2",
    photons: float | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Turn line integrals into a film-like image.

    Args:
        line_integrals: (..., rows, columns), dimensionless.
        style: a key of `FILM_STYLES`.
        photometric: one of `PHOTOMETRIC`; MONOCHROME1 is the inverse, so that `transmission` gives e^-p.
        photons: mean count of an unattenuated pixel; where given, Poisson noise is added.
        generator: generator of the noise, on the images' device; seed it to repeat the noise.

    Returns:
        Same shape, [0, 1]. The gradient passes as if there were no noise and no grey levels.

    Raises:
        InputError: where a name is unknown, or `photons` is not positive.
    """
    _check_style(style)
    if photometric not in PHOTOMETRIC:
        raise InputError(f"unknown photometric interpretation {photometric!r}: choose one of {', '.join(PHOTOMETRIC)}")
    if photons is not None:
        line_integrals = add_noise(line_integrals, photons, generator)
    image = FILM_STYLES[style](line_integrals)
    return image if photometric == "MONOCHROME2" else 1 - image


def from_film(film: torch.Tensor, style: str = "linear") -> tuple[torch.Tensor, torch.Tensor]:
    """Read the line integrals of a film of known style, the inverse of `to_film`.

    Args:
        film: (..., rows, columns) in [0, 1], bright = dense.
        style: a key of `FILM_STYLES` with fixed limits, so not `x2ct`.

    Returns:
        Line integrals of the same shape, not negative; and whether each pixel's is known, which that of a pixel at the
        style's upper clip is not.

    Raises:
        InputError: where the style is unknown, or keeps no absolute attenuation.
    """
    _check_style(style)
    if style not in _INVERSES:
        raise InputError(
            f"film style {style!r} divides each film by its own maximum, so its line integrals are not known: fit its "
            f"tones, or use {', '.join(_INVERSES)}"
        )
    known = film < 1 - SATURATED
    return _INVERSES[style](film.clamp(0, 1 - SATURATED)).clamp(min=0), known


def add_scatter(line_integrals: torch.Tensor, share: float, width: float | Sequence[float]) -> torch.Tensor:
    """Add scattered radiation, which hides most where the patient is dense.

    Along a ray, the radiation that interacts once and could still reach the film is p e^-p: none in air, none behind
    what lets nothing through. Blurred, it is added to the radiation I = e^-p that goes straight, as much of it as makes
    its share in the patient's shadow. (A simple form of the scatter kernels of Ohnesorge et al., Eur Radiol 9 (1999)
    563.) The film's edges mirror it.

    Args:
        line_integrals: p, (..., rows, columns), dimensionless.
        share: share of the radiation behind the patient (p above `SHADOW`) that is scattered, from 0 to below 1.
        width: standard deviation of the Gaussian that it is spread by, in pixels; of several, the mean is taken.

    Returns:
        Same shape: -log of the radiation; below 0 where scatter is added to an open beam.

    Raises:
        InputError: where the share lies outside [0, 1), or a width is not positive.
    """
    widths = [width] if isinstance(width, (int, float)) else list(width)
    if not 0 <= share < 1:
        raise InputError(f"the share of scatter must lie in [0, 1), got {share}")
    if not widths or not min(widths) > 0:
        raise InputError(f"the width of scatter must be positive, got {width}")
    if share == 0:
        return line_integrals
    direct = torch.exp(-line_integrals)
    source = line_integrals.clamp(min=0) * direct
    rows, columns = direct.shape[-2:]
    scattered = torch.stack(
        [_mirrored_gaussian(rows, w).to(direct) @ source @ _mirrored_gaussian(columns, w).to(direct) for w in widths]
    ).mean(0)
    shadow = (line_integrals > SHADOW).to(direct)
    of_direct, of_scattered = ((shadow * part).sum((-2, -1), keepdim=True) for part in (direct, scattered))
    tiny = torch.finfo(direct.dtype).tiny
    amount = share / (1 - share) * of_direct / of_scattered.clamp(min=tiny)
    return -torch.log((direct + amount * scattered).clamp(min=tiny))


def _mirrored_gaussian(count: int, width: float) -> torch.Tensor:
    """Return the matrix (count, count) that blurs a line of pixels whose ends mirror; its rows and columns sum to 1."""
    place = torch.arange(count, dtype=torch.float64)
    direct, mirrored = place[:, None] - place, place[:, None] + place + 1
    images = math.ceil(SCATTER_REACH * width / (2 * count)) + 1
    shifts = 2.0 * count * torch.arange(-images, images + 1, dtype=torch.float64)[:, None, None]
    distances = torch.stack([direct, mirrored])[:, None] + shifts
    kernel = torch.exp(-0.5 * (distances / width) ** 2).sum(dim=(0, 1))
    return kernel / kernel[0].sum()


def add_noise(line_integrals: torch.Tensor, photons: float, generator: torch.Generator | None = None) -> torch.Tensor:
    """Add quantum noise: draw counts from a Poisson distribution of mean I0 e^-p and take their logarithm again.

    Args:
        line_integrals: (..., rows, columns), dimensionless.
        photons: I0, mean count of an unattenuated pixel.
        generator: generator of the noise, on the images' device.

    Returns:
        Same shape. The standard deviation is about 1 / sqrt(I0 e^-p). A pixel without a photon counts as half a photon.
        The gradient is that of the noiseless input.

    Raises:
        InputError: where `photons` is not positive.
    """
    if not photons > 0:
        raise InputError(f"photons must be positive, got {photons}")
    counts = torch.poisson(photons * torch.exp(-line_integrals.detach()), generator=generator)
    noisy = -torch.log(counts.clamp(min=0.5) / photons)
    return line_integrals + (noisy - line_integrals).detach()


def harden_beam(
    material_mm: torch.Tensor, spectrum: dict[int, tuple[float, float, float]] | None = None
) -> torch.Tensor:
    """Compute the line integral that a polychromatic beam measures: -log of the transmitted photons of all energies.

    Args:
        material_mm: mm of water and of cortical bone, (..., 2, rows, columns), from the projections of
            `material_densities`.
        spectrum: energy -> (share, mu of water, mu of bone in 1/mm); `SPECTRUM` by default.

    Returns:
        (..., rows, columns), dimensionless. Less than the mean attenuation times the length: soft photons go first.
    """
    water, bone = material_mm.unbind(-3)
    lines = (spectrum or SPECTRUM).values()
    total = sum(share for share, _, _ in lines)
    weights = [torch.log(water.new_tensor(share / total)) - mu_w * water - mu_b * bone for share, mu_w, mu_b in lines]
    return -torch.logsumexp(torch.stack(weights), dim=0)
