"""The measures as MONAI metrics and handlers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import CumulativeIterationMetric
from monai.metrics.utils import do_metric_reduction

from conventions import HU_WINDOW, Keys, hu_to_unit

from .image_quality import mae, psnr, ssim

Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class VolumeMetric(CumulativeIterationMetric):
    """A measure of single volumes, collected over a cohort.

    Args:
        measure: pure function of prediction and target (B, 1, D, H, W) that returns (B,).
        reduction: how cases are combined, see MONAI; "mean" over all of them by default.
    """

    def __init__(self, measure: Measure, reduction: str = "mean") -> None:
        super().__init__()
        self.measure = measure
        self.reduction = reduction

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return self.measure(torch.as_tensor(y_pred), torch.as_tensor(y))[:, None]

    def aggregate(self, reduction: str | None = None) -> Any:
        """The measure over all cases seen so far."""
        value, _ = do_metric_reduction(self.get_buffer(), reduction or self.reduction)
        return value


def volume_metrics(
    predictions: Sequence[str] = (Keys.PRED,), window: Sequence[float] = HU_WINDOW
) -> dict[str, IgniteMetricHandler]:
    """Handlers for PSNR, SSIM and MAE of volumes in HU, for an evaluator whose output holds them under `label`.

    Args:
        predictions: keys of the engine's output to measure.
        window: (low, high) in HU that the volumes were clipped to; its width is the peak of PSNR, and SSIM is taken of
            unit values at data range 1.

    Returns:
        `psnr_db`, `ssim` and `mae_hu` for the first key, `psnr_db/<key>` and so on for the others. The first one is
        the key metric. Details of each case are kept.
    """
    low, high = float(window[0]), float(window[1])

    def unit_ssim(prediction_hu: torch.Tensor, target_hu: torch.Tensor) -> torch.Tensor:
        # The luminance term of SSIM needs values that start at 0.
        return ssim(hu_to_unit(prediction_hu, (low, high)), hu_to_unit(target_hu, (low, high)), data_range=1.0)

    measures: dict[str, Measure] = {
        "psnr_db": partial(psnr, data_range=high - low),
        "ssim": unit_ssim,
        "mae_hu": mae,
    }
    return {
        name if key == predictions[0] else f"{name}/{key}": IgniteMetricHandler(
            metric_fn=VolumeMetric(measure), output_transform=from_engine([key, Keys.LABEL]), save_details=True
        )
        for key in predictions
        for name, measure in measures.items()
    }
