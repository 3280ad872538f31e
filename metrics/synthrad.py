"""The image measures of the SynthRAD2025 challenge, to compare with its tables; see github.com/SynthRAD2025/metrics.

They are not comparable with `psnr`, `ssim` or the paper's: everything is measured inside a mask, and the range is -1024
to 3000 HU, as their code has it since 2023 (3071 before). Their MS-SSIM weighs the luminance term at every scale, not
at the coarsest one only. This is an implementation of its own; values agree with those of their `image_metrics.py` on
the pairs of the tests.
"""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool3d, pad

from conventions import InputError

from .hounsfield_errors import masked_mae
from .image_quality import SSIM_WINDOW, window_mean

SYNTHRAD_MEASURES = ("synthrad_mae", "synthrad_psnr", "synthrad_ms_ssim")
"""Names of what `synthrad_metrics` returns."""

SYNTHRAD_RANGE = (-1024.0, 3000.0)
"""(low, high) in HU to which volumes are clipped; its width is the peak of PSNR and the range of MS-SSIM."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales of MS-SSIM, the finest first (Wang, Simoncelli and Bovik 2003)."""

LEAST_SIDE = 97
"""Side to which smaller volumes are extended, so that five scales hold a window."""


def synthrad_metrics(
    prediction_hu: torch.Tensor, target_hu: torch.Tensor, mask: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Compute the measures of SynthRAD2025 inside a mask.

    Args:
        prediction_hu: (B, 1, D, H, W) HU.
        target_hu: (B, 1, D, H, W) HU.
        mask: (B, 1, D, H, W) bool, the patient; the challenge hands one out with each CT.

    Returns:
        Name -> (B,) float64: `synthrad_mae` in HU, `synthrad_psnr` in dB (infinite for equal volumes) and
        `synthrad_ms_ssim`, 0 to 1; NaN where the mask is empty.

    Raises:
        InputError: where the shapes differ.
    """
    shapes = {tuple(volume.shape) for volume in (prediction_hu, target_hu, mask)}
    if len(shapes) > 1 or prediction_hu.ndim != 5:
        raise InputError(f"SynthRAD's measures take volumes and mask of one shape (B, 1, D, H, W), got {shapes}")
    x, y, inside = prediction_hu.double(), target_hu.double(), mask.bool()
    low, high = SYNTHRAD_RANGE
    clipped_x, clipped_y = (torch.where(inside, volume.clamp(low, high), low) for volume in (x, y))
    square = torch.where(inside, clipped_x - clipped_y, 0).square().flatten(1).sum(1) / inside.flatten(1).sum(1)
    values = (
        masked_mae(x, y, inside),
        10 * torch.log10((high - low) ** 2 / square),
        _ms_ssim(clipped_x - low, clipped_y - low, inside, high - low),
    )
    return dict(zip(SYNTHRAD_MEASURES, values, strict=True))


def _ms_ssim(x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor, data_range: float) -> torch.Tensor:
    """Multiply the similarities of five scales, each averaged inside the mask: (B,)."""
    borders: list[int] = []
    for side in reversed(x.shape[2:]):
        missing = max(0, LEAST_SIDE - side)
        borders += [missing // 2, missing - missing // 2]
    x, y = (pad(volume, borders, mode="replicate") for volume in (x, y))
    inside = pad(mask.double(), borders, mode="replicate") > 0
    product = x.new_ones(len(x))
    for number, weight in enumerate(SCALE_WEIGHTS):
        if number:
            x, y = _halved(x), _halved(y)
            inside = inside[:, :, ::2, ::2, ::2]
        similarity = _similarity(x, y, data_range, weight)
        edge = SSIM_WINDOW // 2
        seen = inside[:, :, edge:-edge, edge:-edge, edge:-edge].flatten(1)
        mean = torch.where(seen, similarity.flatten(1), 0).sum(1) / seen.sum(1)
        product = product * mean.clamp(0, 1)
    return product


def _halved(volume: torch.Tensor) -> torch.Tensor:
    """Average each second voxel with the one before it along each axis; before the first lies 0."""
    extended = pad(volume, (1, 0, 1, 0, 1, 0))
    return avg_pool3d(extended, 2, 2)


def _similarity(x: torch.Tensor, y: torch.Tensor, data_range: float, weight: float) -> torch.Tensor:
    """Compute luminance, contrast and structure to the power of a weight where the window lies inside the volume."""
    axes = (2, 3, 4)
    samples = SSIM_WINDOW**3
    mean_x, mean_y = window_mean(x, axes), window_mean(y, axes)
    to_sample = samples / (samples - 1)
    variance_x = to_sample * (window_mean(x * x, axes) - mean_x * mean_x)
    variance_y = to_sample * (window_mean(y * y, axes) - mean_y * mean_y)
    covariance = to_sample * (window_mean(x * y, axes) - mean_x * mean_y)
    spreads = variance_x.clamp(min=0).sqrt() * variance_y.clamp(min=0).sqrt()
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = ((2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)).clamp(min=0)
    contrast = ((2 * spreads + c2) / (variance_x + variance_y + c2)).clamp(min=0)
    structure = ((covariance + c2 / 2) / (spreads + c2 / 2)).clamp(min=0)
    return luminance**weight * contrast**weight * structure**weight
