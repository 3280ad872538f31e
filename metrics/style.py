"""Metrics that compare the appearance of two unpaired sets of radiographs."""

from __future__ import annotations

import math
import statistics

import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

SUBSETS = 100
"""Number of random subsets for the spread of `kid`; each holds half of the smaller set."""


def kid(
    a: Tensor, b: Tensor, groups_a: Tensor | None = None, groups_b: Tensor | None = None, seed: int = 0
) -> tuple[float, float]:
    """Compute the kernel distance of two sets of features (Binkowski et al., ICLR 2018; KID for features of Inception).

    This is the unbiased squared maximum mean discrepancy with the kernel (x . y / d + 1)^3. For two sets of the same
    distribution it is about 0, and as often below as above. Images of one group, such as DRRs of one CT, are not
    compared with each other, since they are not independent samples.

    Args:
        a: (N, d).
        b: (M, d).
        groups_a: (N,) number of the group of each image; None makes each image a group.
        groups_b: (M,) as `groups_a`.
        seed: seed of the subsets.

    Returns:
        The distance of the whole sets, and the standard deviation over `SUBSETS` pairs of random subsets.

    Raises:
        ValueError: where a set holds fewer than 4 images or fewer than 2 groups.
    """
    sides = []
    for features, groups in ((a, groups_a), (b, groups_b)):
        groups = torch.arange(len(features)) if groups is None else groups
        if len(features) < 4 or len(groups.unique()) < 2:
            raise ValueError("each set must hold 4 images or more, of 2 groups or more")
        sides.append((features.double(), groups))
    generator = torch.Generator().manual_seed(seed)
    size = min(len(a), len(b)) // 2
    distances = []
    for _ in range(SUBSETS):
        chosen = [torch.randperm(len(x), generator=generator)[:size] for x, _ in sides]
        distances.append(_discrepancy(*((x[of], groups[of]) for (x, groups), of in zip(sides, chosen, strict=True))))
    known = [distance for distance in distances if math.isfinite(distance)]
    return _discrepancy(*sides), statistics.stdev(known) if len(known) > 1 else math.nan


def _discrepancy(*sides: tuple[Tensor, Tensor]) -> float:
    """Compute the discrepancy of two sets of (features, groups); NaN if one has a single group."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    within = [kernel(x, x)[groups[:, None] != groups].mean() for x, groups in sides]
    return float(sum(within) - 2 * kernel(sides[0][0], sides[1][0]).mean())


def fid(a: Tensor, b: Tensor) -> float:
    """Compute the Frechet distance of normal distributions fitted to two sets of features (Heusel et al. 2017).

    It is biased upwards for small sets, even more with fewer images than features, so only figures for sets of the same
    size can be compared.

    Args:
        a: (N, d).
        b: (M, d).
    """
    centred = [(side.double() - side.double().mean(0)) / (len(side) - 1) ** 0.5 for side in (a, b)]
    # The trace of the root of the product of the covariances is the nuclear norm of this product of their triangular
    # factors, which avoids the root of a matrix that few images leave singular.
    factors = [torch.linalg.qr(side, mode="r").R for side in centred]
    common = torch.linalg.svdvals(factors[0] @ factors[1].T).sum()
    spread = sum(side.square().sum() for side in centred)
    return float((a.double().mean(0) - b.double().mean(0)).square().sum() + spread - 2 * common)


def intensity_wasserstein(a: Tensor, b: Tensor) -> float:
    """Compute the earth mover's distance between the grey values of two sets, in units of the grey scale.

    Args:
        a: (N, 1, rows, columns), in [0, 1].
        b: (M, 1, rows, columns).
    """
    return float(wasserstein_distance(a.flatten().numpy(), b.flatten().numpy()))


def power_spectrum(images: Tensor) -> Tensor:
    """Average the power at each spatial frequency over directions and images; a Hann window suppresses the borders.

    Args:
        images: (N, 1, rows, columns), square.

    Returns:
        (rows // 2,) power at 1, 2, ... cycles per image.
    """
    side = images.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=torch.float64)
    planes = images[:, 0].double()
    power = torch.fft.fft2((planes - planes.mean((1, 2), keepdim=True)) * window[:, None] * window).abs() ** 2
    cycles = torch.fft.fftfreq(side, d=1 / side, dtype=torch.float64)
    ring = (cycles[:, None] ** 2 + cycles**2).sqrt().round().long()
    return torch.stack([power.mean(0)[ring == cycle].mean() for cycle in range(1, side // 2 + 1)])


def power_spectrum_distance(a: Tensor, b: Tensor) -> float:
    """Compute the root mean square difference of the power spectra of two sets, in dB.

    Args:
        a: (N, 1, side, side).
        b: (M, 1, side, side).
    """
    decibels = [10 * torch.log10(power_spectrum(side).clamp(min=1e-12)) for side in (a, b)]
    return float((decibels[0] - decibels[1]).square().mean().sqrt())
