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
from .paper import PAPER_MEASURES, paper_metrics

Measure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class VolumeMetric(CumulativeIterationMetric):
    """A measure of single volumes, collected over a cohort.

    Args:
        measure: pure function of prediction and target (B, 1, D, H, W) that returns (B,), or (B, measures).
        reduction: how cases are combined, see MONAI; "mean" over all of them by default, "mean_batch" for one mean
            a measure.
    """

    def __init__(self, measure: Measure, reduction: str = "mean") -> None:
        super().__init__()
        self.measure = measure
        self.reduction = reduction

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        value = self.measure(torch.as_tensor(y_pred), torch.as_tensor(y))
        return value[:, None] if value.ndim == 1 else value

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


class _FamilyHandler(IgniteMetricHandler):
    """Handler of many measures that are computed together: each becomes a metric of the engine under its own name.

    Args:
        names: names of the metrics, in the order in which `metric_fn` holds them.
        metric_fn: metric of (B, measures).
        output_transform: as in MONAI's handler.
    """

    def __init__(self, names: Sequence[str], metric_fn: VolumeMetric, output_transform: Callable[..., Any]) -> None:
        super().__init__(metric_fn=metric_fn, output_transform=output_transform, save_details=True)
        self.names = names

    def completed(self, engine: Any, name: str) -> None:
        """Hand over what was measured; `name`, under which the family was attached, is one of its own."""
        means, details = self.metric_fn.aggregate(), self.metric_fn.get_buffer()
        for column, measure in enumerate(self.names):
            engine.state.metrics[measure] = float(means[column])
            engine.state.metric_details[measure] = details[:, column : column + 1]


def paper_volume_metrics(
    predictions: Sequence[str] = (Keys.PRED,), window: Sequence[float] = HU_WINDOW
) -> dict[str, IgniteMetricHandler]:
    """Handlers for the paper's measures as the authors compute them, of volumes in HU, beside `volume_metrics`.

    Args:
        predictions: keys of the engine's output to measure.
        window: (low, high) in HU that the volumes were clipped to. The authors' numbers are those of the paper's
            window; another one is brought to their 2500 values.

    Returns:
        One handler for each key, named `paper_psnr_avg` for the first and `paper_psnr_avg/<key>` for the others. Each
        gives the engine all of `PAPER_MEASURES`, named likewise: they cost seconds for a volume of 128^3 and are
        computed once. Details of each case are kept.
    """
    low, high = float(window[0]), float(window[1])

    def measures(prediction_hu: torch.Tensor, target_hu: torch.Tensor) -> torch.Tensor:
        values = paper_metrics(hu_to_unit(prediction_hu, (low, high)), hu_to_unit(target_hu, (low, high)))
        return torch.stack(list(values.values()), dim=1)

    handlers = {}
    for key in predictions:
        names = [name if key == predictions[0] else f"{name}/{key}" for name in PAPER_MEASURES]
        metric = VolumeMetric(measures, reduction="mean_batch")
        handlers[names[0]] = _FamilyHandler(names, metric, from_engine([key, Keys.LABEL]))
    return handlers
