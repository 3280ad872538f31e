"""The metrics of the paper as the authors' test script computes them, to compare with published figures of X2CT-GAN.

They are not comparable with `psnr` and `ssim`: the peak of PSNR is 4095 on values up to 2500, PSNR and SSIM are means
over 2-D slices, and a slice without error counts as 100 dB. Every name starts with `paper_`.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity

from conventions import HU_WINDOW, InputError

from .image_quality import SSIM_WINDOW, mae, mse, psnr, ssim

PAPER_PEAK = 4095.0
"""Peak of PSNR in the authors' code, 20 log10(4095 / 2500) = 4.287 dB above that of the data."""

PAPER_IDENTICAL_DB = 100.0
"""PSNR of identical slices or volumes in the authors' code."""

PAPER_MEASURES = (
    "paper_psnr_avg",
    "paper_psnr_1",
    "paper_psnr_2",
    "paper_psnr_3",
    "paper_psnr_3d",
    "paper_ssim_avg",
    "paper_ssim_1",
    "paper_ssim_2",
    "paper_ssim_3",
    "paper_mae",
    "paper_mse",
    "paper_mae0",
    "paper_mse0",
    "paper_cosine",
)
"""Names of the metrics of `paper_metrics`, in its order: the authors' names in lower case after `paper_`."""

_AXES = (2, 3, 4)


def paper_metrics(prediction: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Compute the metrics of X2CT-GAN (Ying et al., CVPR 2019) as defined in the authors' `test.py`.

    There is one difference: the authors leave out cases whose cosine similarity rounds to more than 1; here every case
    counts.

    Args:
        prediction: (B, 1, D, H, W), sides of at least 7, unit values; clamped to [0, 1] as in the authors' code.
        target: (B, 1, D, H, W), unit values in [0, 1].

    Returns:
        Name -> (B,) float64, on the device of the volumes. Numbers 1, 2 and 3 are slices along D, H and W.

        - `paper_psnr_1`, `_2`, `_3`: dB, mean over slices of the PSNR at peak 4095 of whole HU + 1024 (unit values
          times 2500, truncated); a slice without error counts as 100 dB. `paper_psnr_avg`: the mean of the three.
        - `paper_psnr_3d`: dB, the same for the whole volume.
        - `paper_ssim_1`, `_2`, `_3`: mean over slices of the 2-D SSIM of unit values. `paper_ssim_avg`: the mean of
          the three.
        - `paper_mae` in HU, `paper_mse` in HU squared: of the same whole numbers.
        - `paper_mae0`, `paper_mse0`, `paper_cosine`: of unit values; cosine similarity of the flattened volumes, 0
          where one of them is all 0.

    Raises:
        InputError: where the shapes differ, or a side has less than 7 voxels.
    """
    _check_shapes(prediction, target)
    prediction = prediction.clamp(0.0, 1.0)
    x, y = prediction.double(), target.double()
    x_hu, y_hu = _whole_hu(prediction), _whole_hu(target)
    values = {
        "paper_psnr_3d": _psnr(x_hu, y_hu),
        "paper_mae": mae(x_hu, y_hu),
        "paper_mse": mse(x_hu, y_hu),
        "paper_mae0": mae(x, y),
        "paper_mse0": mse(x, y),
        "paper_cosine": cosine_similarity(x.flatten(1), y.flatten(1)),
    }
    for number, axis in enumerate(_AXES, start=1):
        slices_x, slices_y = (volume.movedim(axis, 1).flatten(0, 1) for volume in (x_hu, y_hu))
        values[f"paper_psnr_{number}"] = _psnr(slices_x, slices_y).unflatten(0, (len(x), -1)).mean(dim=1)
        values[f"paper_ssim_{number}"] = ssim(x, y, 1.0, axes=[other for other in _AXES if other != axis])
    for name in ("paper_psnr", "paper_ssim"):
        values[f"{name}_avg"] = torch.stack([values[f"{name}_{number}"] for number in (1, 2, 3)]).mean(dim=0)
    return {name: values[name] for name in PAPER_MEASURES}


def _whole_hu(volume: torch.Tensor) -> torch.Tensor:
    """Convert unit values to HU + 1024, truncated; in single precision like the authors, as it matters."""
    return (volume.float() * (HU_WINDOW[1] - HU_WINDOW[0])).trunc().double()


def _psnr(prediction_hu: torch.Tensor, target_hu: torch.Tensor) -> torch.Tensor:
    """Compute PSNR at the authors' peak, (B,) dB."""
    value = psnr(prediction_hu, target_hu, PAPER_PEAK)
    return value.masked_fill(value == torch.inf, PAPER_IDENTICAL_DB)


def _check_shapes(prediction: torch.Tensor, target: torch.Tensor) -> None:
    """Refuse anything but two volumes of one shape."""
    shape, other = tuple(prediction.shape), tuple(target.shape)
    if shape != other:
        raise InputError(f"the paper's metrics compare volumes of one shape, got {shape} and {other}; resample one")
    if len(shape) != 5 or shape[1] != 1 or min(shape[2:]) < SSIM_WINDOW:
        raise InputError(
            f"the paper's metrics take volumes (B, 1, D, H, W) with sides of at least {SSIM_WINDOW}, got {shape}"
        )
