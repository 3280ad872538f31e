"""PSNR, SSIM and MAE of volumes as pure functions.

The peak of PSNR and the range of SSIM are the data's, for example the 2500 HU of the paper's window. The paper's own
figures use a peak of 4095 on that range and are 4.29 dB higher.
"""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool3d

SSIM_WINDOW = 7
"""Side of the uniform window in voxels."""


def mae(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute error.

    Args:
        prediction: (B, ...), any unit.
        target: (B, ...), same unit and shape.

    Returns:
        (B,) in the unit of the volumes.
    """
    return (prediction - target).abs().flatten(1).mean(dim=1)


def psnr(prediction: torch.Tensor, target: torch.Tensor, data_range: float) -> torch.Tensor:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / MSE).

    Args:
        prediction: (B, ...), any unit.
        target: (B, ...), same unit and shape.
        data_range: difference between the largest and smallest possible value, 2500 for volumes in the paper's window.

    Returns:
        (B,) in dB; infinite where the two are identical.
    """
    mse = (prediction - target).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(data_range**2 / mse)


def ssim(prediction: torch.Tensor, target: torch.Tensor, data_range: float) -> torch.Tensor:
    """Structural similarity in 3-D (Wang et al. 2004) with a uniform window of 7^3 voxels.

    Sample covariance, K1 = 0.01, K2 = 0.03, mean over the voxels whose window lies inside: the same as
    scikit-image's default for a 3-D array.

    Args:
        prediction: (B, 1, D, H, W), sides of at least 7, values from 0: unit values, not HU.
        target: (B, 1, D, H, W), same unit.
        data_range: the largest possible value, 1 for unit values.

    Returns:
        (B,) in [-1, 1].
    """
    samples = SSIM_WINDOW**3
    to_sample_covariance = samples / (samples - 1)
    x, y = prediction.double(), target.double()
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variance_x = to_sample_covariance * (_window_mean(x * x) - mean_x * mean_x)
    variance_y = to_sample_covariance * (_window_mean(y * y) - mean_y * mean_y)
    covariance = to_sample_covariance * (_window_mean(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x.square() + mean_y.square() + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).flatten(1).mean(dim=1).to(prediction.dtype)


def _window_mean(volume: torch.Tensor) -> torch.Tensor:
    """Mean over the window around each voxel, one axis after the other."""
    for kernel in ((SSIM_WINDOW, 1, 1), (1, SSIM_WINDOW, 1), (1, 1, SSIM_WINDOW)):
        volume = avg_pool3d(volume, kernel, stride=1)
    return volume
