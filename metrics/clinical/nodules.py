"""Plant nodules in the lungs of a CT and measure what is left of them in the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

NODULE_DIAMETERS_MM = (5.0, 10.0, 16.0, 24.0, 32.0)
"""Diameters of the nodules that are planted by default."""

NODULE_MEASURES = tuple(
    f"nodule_{diameter:g}mm_{what}" for diameter in NODULE_DIAMETERS_MM for what in ("kept", "shadow")
)
"""Names of what an evaluation with planted nodules measures: `contrast_left` and `shadow_contrast` by diameter."""

NODULE_HU = 40.0
"""HU of a solid nodule."""

MARGIN_MM = 1.0
"""Lung that is left around a nodule."""

APART_MM = 15.0
"""Smallest distance between the surfaces of two nodules, so that they do not overlap in the observer's field."""

SUBVOXELS = 9
"""Points along each axis of a voxel by which its share of a sphere is found."""


@dataclass(frozen=True)
class Nodule:
    """A sphere in a volume."""

    centre: tuple[float, float, float]
    """Index of its centre (d, h, w); whole numbers are centres of voxels."""
    diameter_mm: float
    """Diameter in mm."""


def sphere_coverage(
    nodule: Nodule, shape: Sequence[int], spacing: float
) -> tuple[tuple[slice, slice, slice], torch.Tensor]:
    """Compute the share of each voxel that a nodule fills.

    Args:
        nodule: the nodule.
        shape: voxels of the volume (D, H, W).
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        The box of voxels around it, and their shares, float32 in [0, 1].
    """
    radius = nodule.diameter_mm / 2 / spacing
    ranges = [
        (max(0, int(np.floor(c - radius))), min(n, int(np.ceil(c + radius)) + 1))
        for c, n in zip(nodule.centre, shape, strict=True)
    ]
    fine = (np.arange(SUBVOXELS) + 0.5) / SUBVOXELS - 0.5
    squares = [
        ((np.arange(low, high)[:, None] + fine).ravel() - c) ** 2
        for (low, high), c in zip(ranges, nodule.centre, strict=True)
    ]
    inside = squares[0][:, None, None] + squares[1][:, None] + squares[2] <= radius**2
    d, h, w = (high - low for low, high in ranges)
    shares = inside.reshape(d, SUBVOXELS, h, SUBVOXELS, w, SUBVOXELS).mean((1, 3, 5), dtype=np.float32)
    (d0, d1), (h0, h1), (w0, w1) = ranges
    return (slice(d0, d1), slice(h0, h1), slice(w0, w1)), torch.from_numpy(shares)


def nodule_sites(
    lungs: torch.Tensor, spacing: float, diameters_mm: Sequence[float] = NODULE_DIAMETERS_MM, seed: int = 0
) -> list[Nodule | None]:
    """Draw a random site in the lungs for a nodule of each diameter, the largest first, apart from each other.

    Args:
        lungs: (D, H, W) bool.
        spacing: voxel spacing in mm, the same along all axes.
        diameters_mm: diameters in mm.
        seed: seed of the sites.

    Returns:
        A nodule for each diameter, in their order, wholly in the lungs; None where there is no room for one.
    """
    closed = ndimage.binary_closing(lungs.cpu().numpy(), iterations=2)  # vessels are no walls
    depth = ndimage.distance_transform_edt(closed, sampling=spacing)
    rng = np.random.default_rng(seed)
    found: dict[int, Nodule] = {}
    for number in sorted(range(len(diameters_mm)), key=lambda i: -diameters_mm[i]):
        radius = diameters_mm[number] / 2
        sites = np.argwhere(depth >= radius + MARGIN_MM)
        for other in found.values():
            away = np.linalg.norm((sites - np.array(other.centre)) * spacing, axis=1)
            sites = sites[away >= radius + other.diameter_mm / 2 + APART_MM]
        if len(sites):
            d, h, w = (float(index) for index in sites[rng.integers(len(sites))])
            found[number] = Nodule((d, h, w), float(diameters_mm[number]))
    return [found.get(number) for number in range(len(diameters_mm))]


def plant(volume_hu: torch.Tensor, nodules: Sequence[Nodule | None], spacing: float) -> torch.Tensor:
    """Put nodules into a volume.

    Args:
        volume_hu: (D, H, W) HU.
        nodules: nodules of `NODULE_HU`; None is left out.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        A new volume, in which each voxel is nodule by the share that it fills; what is denser stays.
    """
    planted = volume_hu.clone()
    for nodule in nodules:
        if nodule is not None:
            box, share = sphere_coverage(nodule, volume_hu.shape, spacing)
            there = planted[box]
            planted[box] = there + share.to(there) * (NODULE_HU - there).clamp(min=0)
    return planted


def contrast_left(
    change: torch.Tensor, true_change: torch.Tensor, nodules: Sequence[Nodule | None], spacing: float
) -> torch.Tensor:
    """Measure what is left of planted nodules, by a matched filter.

    The filter of a nodule is the change that it made to the true volume, less its mean over the field, a cube of twice
    its diameter (at least its diameter and three voxels on each side); a prediction that is brighter everywhere is
    therefore no nodule.

    Args:
        change: (D, H, W), prediction with the nodules less prediction without them.
        true_change: (D, H, W), the same of the true volumes, same unit.
        nodules: the nodules; None is not measured.
        spacing: voxel spacing in mm, the same along all axes.

    Returns:
        (nodules,) float64: 1 where a nodule was kept as it was planted, 0 where nothing of it is left; NaN for None.
    """
    left = []
    for nodule in nodules:
        if nodule is None:
            left.append(torch.nan)
            continue
        radius = nodule.diameter_mm / 2 / spacing
        reach = max(2 * radius, radius + 3)
        field = tuple(
            slice(max(0, int(np.floor(c - reach))), min(n, int(np.ceil(c + reach)) + 1))
            for c, n in zip(nodule.centre, change.shape, strict=True)
        )
        template = true_change[field].double()
        template = template - template.mean()
        left.append(float((template * change[field].double()).sum() / template.square().sum()))
    return torch.tensor(left, dtype=torch.float64)


def shadow_contrast(lines: torch.Tensor, lines_without: torch.Tensor) -> torch.Tensor:
    """Measure how much a nodule changes the radiographs, where its shadow is strongest.

    Args:
        lines: line integrals (B, views, rows, columns) with the nodule.
        lines_without: the same without it.

    Returns:
        (B, views): the largest change as a share of the line integral there.
    """
    change = (lines - lines_without).flatten(2)
    place = change.abs().argmax(2, keepdim=True)
    return (change.gather(2, place).abs() / lines_without.flatten(2).gather(2, place).clamp(min=1e-6))[..., 0]
