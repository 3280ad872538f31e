"""PSNR, SSIM, MAE and MSE of volumes as pure functions.

The peak of PSNR and the range of SSIM are those of the data, for example the 2500 HU of the paper's window. The figures
in the paper use a peak of 4095 on that range and are 4.29 dB higher (`metrics/paper.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import avg_pool3d

NARROW_WINDOW = (-1024.0, 1024.0)
"""(low, high) in HU to which later work, such as LiftXR, clips volumes; the paper's window is 2500 HU wide."""

SSIM_WINDOW = 7
"""Side of the uniform window of SSIM in voxels."""


def mae(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute the mean absolute error.

    Args:
        prediction: (B, ...), any unit.
        target: (B, ...), same unit and shape.

    Returns:
        (B,) in the unit of the volumes.
    """
    return (prediction - target).abs().flatten(1).mean(dim=1)


def mse(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compute the mean squared error.

    Args:
        prediction: (B, ...), any unit.
        target: (B, ...), same unit and shape.

    Returns:
        (B,) in the squared unit of the volumes.
    """
    return (prediction - target).square().flatten(1).mean(dim=1)


def nearest_image(image: torch.Tensor, others: torch.Tensor) -> int:
    """Find the image with the smallest mean squared difference.

    Args:
        image: (...), any unit.
        others: (N, ...), same unit.

    Returns:
        Its number, the first of several.
    """
    return int((others - image).square().flatten(1).mean(dim=1).argmin())


def psnr(prediction: torch.Tensor, target: torch.Tensor, data_range: float) -> torch.Tensor:
    """Compute the peak signal-to-noise ratio, 10 log10(data_range^2 / MSE).

    Args:
        prediction: (B, ...), any unit.
        target: (B, ...), same unit and shape.
        data_range: difference between the largest and smallest possible value, 2500 for volumes in the paper's window.

    Returns:
        (B,) in dB; infinite for identical volumes.
    """
    return 10 * torch.log10(data_range**2 / mse(prediction, target))


def psnr_2048(prediction_hu: torch.Tensor, target_hu: torch.Tensor) -> torch.Tensor:
    """Compute the PSNR of volumes that are clipped to `NARROW_WINDOW`, whose width is the peak.

    Args:
        prediction_hu: (B, ...) HU.
        target_hu: (B, ...) HU, same shape.

    Returns:
        (B,) in dB; infinite for volumes that are identical within the window.
    """
    low, high = NARROW_WINDOW
    return psnr(prediction_hu.clamp(low, high), target_hu.clamp(low, high), high - low)


def ssim(
    prediction: torch.Tensor, target: torch.Tensor, data_range: float, axes: Sequence[int] = (2, 3, 4)
) -> torch.Tensor:
    """Compute the structural similarity (Wang et al. 2004) with a uniform window of 7 voxels, 3-D by default.

    Sample covariance, K1 = 0.01, K2 = 0.03, mean over the voxels whose window lies inside: the defaults of
    scikit-image.

    Args:
        prediction: (B, 1, D, H, W), at least 7 voxels along `axes`, values from 0: unit values, not HU.
        target: (B, 1, D, H, W), same unit.
        data_range: the largest possible value, 1 for unit values.
        axes: axes of the tensor that the window spans; two of the three give the mean over slices of the 2-D SSIM.

    Returns:
        (B,) in [-1, 1].
    """
    samples = SSIM_WINDOW ** len(axes)
    to_sample_covariance = samples / (samples - 1)
    x, y = prediction.double(), target.double()
    mean_x, mean_y = window_mean(x, axes), window_mean(y, axes)
    variance_x = to_sample_covariance * (window_mean(x * x, axes) - mean_x * mean_x)
    variance_y = to_sample_covariance * (window_mean(y * y, axes) - mean_y * mean_y)
    covariance = to_sample_covariance * (window_mean(x * y, axes) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).flatten(1).mean(dim=1).to(prediction.dtype)


def window_mean(volume: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """Average over the window around each voxel, one axis after the other."""
    for axis in axes:
        kernel = [SSIM_WINDOW if axis == other else 1 for other in (2, 3, 4)]
        volume = avg_pool3d(volume, kernel, stride=1)
    return volume
