"""Map where a predicted volume shows other structures than the true one, by Fourier ring correlation of patches.

The method is the FDA's sFRC (Kc et al., arXiv 2603.04673): each patch of a slice is compared with the same patch of the
reference, ring by ring of spatial frequencies. Where the correlation falls below a threshold at a low frequency,
what is seen is no blurred image of the truth but something else. This is an implementation of its own, with their ring
weights, and equal to their code on the pairs of the tests.
"""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d

PATCH, STRIDE = 32, 16
"""Side of a patch and step between patches in voxels: 80 mm and 40 mm on the paper's grid."""

CROSSING_LEVEL = 0.5
"""Correlation at whose first crossing the frequency is read, as the FDA does for CT."""

FALSE_BELOW = 0.1
"""Frequency of the crossing in cycles per voxel below which a patch counts as hallucinated: structures of 5 voxels,
12.5 mm on the paper's grid, are not those of the truth. It is a choice: the FDA finds it from patches that readers
marked, which nobody did here."""

LEAST_BODY = 0.5
"""Share of a patch that must lie in the body; air has no structure to be true to."""


def fourier_ring_correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Correlate the Fourier coefficients of two images on rings of equal frequency.

    Each coefficient counts half on the ring below its radius and half on that above it.

    Args:
        first: (..., n, n), n even, any unit.
        second: (..., n, n), another image of the same.

    Returns:
        (..., n / 2) in [0, 1]: the correlation at 0, 1 / n, 2 / n ... cycles per pixel; NaN on a ring where an
        image has no power.
    """
    side = first.shape[-1]
    a, b = (torch.fft.fft2(image.double()) for image in (first, second))
    cycles = torch.fft.fftfreq(side, d=1 / side, dtype=torch.float64, device=first.device)
    radius = (cycles[:, None].square() + cycles.square()).sqrt()
    rings = torch.arange(side // 2, device=first.device)
    weight = ((radius.floor() == rings[:, None, None]).double() + (radius.ceil() == rings[:, None, None]).double()) / 2
    weight = weight.flatten(1).T

    def on_rings(values: torch.Tensor) -> torch.Tensor:
        return values.flatten(-2) @ weight

    common = on_rings((a * b.conj()).real).abs()
    return common / (on_rings(a.abs().square()) * on_rings(b.abs().square())).sqrt()


def first_crossing(correlation: torch.Tensor, level: float = CROSSING_LEVEL) -> torch.Tensor:
    """Find the lowest frequency at which a correlation crosses a level, by linear interpolation.

    Args:
        correlation: (..., rings), as `fourier_ring_correlation` returns it; its last ring is left out.
        level: the level.

    Returns:
        (...) in cycles per pixel; infinite where the curve stays above, 0 where it begins below the level.
    """
    curve = correlation[..., :-1]
    before, after = curve[..., :-1], curve[..., 1:]
    crossed = (before - level) * (after - level) <= 0
    step = after - before
    fraction = torch.where(step == 0, 0.0, (level - before) / torch.where(step == 0, 1.0, step))
    places = torch.arange(step.shape[-1], device=curve.device) + fraction
    first = torch.where(crossed, places, torch.inf).amin(-1)
    return torch.where(curve[..., 0] < level, 0.0, first) / (2 * correlation.shape[-1])


def structure_map(
    prediction: torch.Tensor,
    target: torch.Tensor,
    body: torch.Tensor,
    patch: int = PATCH,
    stride: int = STRIDE,
    slices: int = 4,
) -> torch.Tensor:
    """Map up to which spatial frequency the patches of axial slices show the structures of the truth.

    Patches are scaled to [0, 1] and faded out to their borders by a Hann window.

    Args:
        prediction: (B, 1, D, H, W), any unit.
        target: (B, 1, D, H, W), same unit.
        body: (B, 1, D, H, W) bool, the patient in the true volume.
        patch: side of a patch in voxels, even; smaller slices are one patch.
        stride: step from patch to patch in voxels.
        slices: every how many slices are looked at.

    Returns:
        (B, slices, rows of patches, columns of patches) in cycles per voxel, infinite where the level is never crossed,
        NaN where less than half of a patch is body.
    """
    patch = min(patch, *target.shape[3:])
    window = torch.hann_window(patch, periodic=False, dtype=torch.float64, device=prediction.device)
    window = window[:, None] * window
    inside = avg_pool2d(body[:, 0, ::slices].double(), patch, stride) >= LEAST_BODY
    chosen = []
    for volume in (prediction, target):
        tiles = volume[:, 0, ::slices].unfold(2, patch, stride).unfold(3, patch, stride)[inside].double()
        low, high = tiles.amin((1, 2), keepdim=True), tiles.amax((1, 2), keepdim=True)
        chosen.append((tiles - low) / (high - low).clamp(min=1e-12) * window)
    correlation = fourier_ring_correlation(*chosen).nan_to_num(0.0)
    places = torch.full(inside.shape, torch.nan, dtype=torch.float64, device=prediction.device)
    places[inside] = first_crossing(correlation)
    return places


def false_structure(places: torch.Tensor, limit: float = FALSE_BELOW) -> torch.Tensor:
    """Compute the share of patches whose structure is not that of the truth.

    Args:
        places: (B, slices, rows, columns), as `structure_map` returns it.
        limit: frequency in cycles per voxel below which a patch counts.

    Returns:
        (B,) in [0, 1]; NaN where no patch was looked at.
    """
    looked_at = ~places.isnan()
    return (places < limit).flatten(1).sum(1) / looked_at.flatten(1).sum(1).double()
