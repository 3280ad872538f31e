"""The metrics as MONAI metrics and handlers."""

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


PREDICTIONS = (Keys.PRED, Keys.WITHOUT_UPDATE, Keys.MEAN_VOLUME, Keys.NEAREST_CASE, Keys.SHUFFLED_INPUT)
"""Keys of an evaluator's output that are compared with the label, as far as they are there; the first always is."""


class VolumeMetric(CumulativeIterationMetric):
    """A metric of single volumes, collected over a cohort.

    Args:
        measure: pure function of prediction and target (B, 1, D, H, W) that returns (B,), or (B, metrics).
        reduction: reduction over the cases, as in MONAI; "mean" over all values, "mean_batch" one mean per metric.
    """

    def __init__(self, measure: Measure, reduction: str = "mean") -> None:
        super().__init__()
        self.measure = measure
        self.reduction = reduction

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        value = self.measure(torch.as_tensor(y_pred), torch.as_tensor(y))
        return value[:, None] if value.ndim == 1 else value

    def aggregate(self, reduction: str | None = None) -> Any:
        """Return the metric over all cases so far."""
        value, _ = do_metric_reduction(self.get_buffer(), reduction or self.reduction)
        return value


def volume_metrics(
    predictions: Sequence[str] = PREDICTIONS, window: Sequence[float] = HU_WINDOW
) -> dict[str, IgniteMetricHandler]:
    """Return handlers for PSNR, SSIM and MAE of volumes in HU, for an evaluator with `label` in its output.

    Args:
        predictions: keys of the engine's output to compare with `label`. The first must be there; a later one that the
            output lacks, such as a control that is left out, is not measured.
        window: (low, high) in HU to which the volumes were clipped; its width is the peak of PSNR, and SSIM is computed
            from unit values at data range 1.

    Returns:
        `psnr_db`, `ssim` and `mae_hu` for the first key, `psnr_db/<key>` and so on for the others. The first one is
        the key metric. The values of every case are kept.
    """
    low, high = float(window[0]), float(window[1])

    def unit_ssim(prediction_hu: torch.Tensor, target_hu: torch.Tensor) -> torch.Tensor:
        # The luminance term of SSIM needs values that start at 0.
        return ssim(hu_to_unit(prediction_hu, (low, high)), hu_to_unit(target_hu, (low, high)), data_range=1.0)

    measures: dict[str, Measure] = {"psnr_db": partial(psnr, data_range=high - low), "ssim": unit_ssim, "mae_hu": mae}
    return {
        name if key == predictions[0] else f"{name}/{key}": _PredictionHandler(
            VolumeMetric(measure), key, required=key == predictions[0]
        )
        for key in predictions
        for name, measure in measures.items()
    }


class _PredictionHandler(IgniteMetricHandler):
    """Handler that compares one prediction of an evaluator with the label.

    Args:
        metric_fn: metric of prediction and label.
        key: key of the prediction in the engine's output.
        required: whether the output must hold the prediction; if not, a run without it leaves no metric.
    """

    def __init__(self, metric_fn: VolumeMetric, key: str, required: bool) -> None:
        super().__init__(metric_fn=metric_fn, output_transform=from_engine([key, Keys.LABEL]), save_details=True)
        self.key = key
        self.required = required
        self.measured = False

    def reset(self) -> None:
        """Discard all cases."""
        super().reset()
        self.measured = False

    def iteration_completed(self, engine: Any) -> None:
        """Measure the cases of one batch."""
        output = engine.state.output
        items = output if isinstance(output, list) else [output]
        if self.required or all(self.key in item for item in items):
            super().iteration_completed(engine)
            self.measured = True

    def completed(self, engine: Any, name: str) -> None:
        """Hand the metric to the engine."""
        if self.required or self.measured:
            super().completed(engine, name)


class _FamilyHandler(_PredictionHandler):
    """Handler of several metrics that are computed together: each becomes a metric of the engine under its own name.

    Args:
        names: names of the metrics, in the order in which `metric_fn` holds them.
        metric_fn: metric that returns (B, metrics).
        key: as in `_PredictionHandler`.
        required: as in `_PredictionHandler`.
    """

    def __init__(self, names: Sequence[str], metric_fn: VolumeMetric, key: str, required: bool) -> None:
        super().__init__(metric_fn, key, required)
        self.names = names

    def completed(self, engine: Any, name: str) -> None:
        """Pass the metrics to the engine; `name`, under which the family was attached, is one of them."""
        if not (self.required or self.measured):
            return
        means, details = self.metric_fn.aggregate(), self.metric_fn.get_buffer()
        for column, measure in enumerate(self.names):
            engine.state.metrics[measure] = float(means[column])
            engine.state.metric_details[measure] = details[:, column : column + 1]


def paper_volume_metrics(
    predictions: Sequence[str] = PREDICTIONS, window: Sequence[float] = HU_WINDOW
) -> dict[str, IgniteMetricHandler]:
    """Return handlers for the metrics of the paper, as the authors compute them, of volumes in HU.

    Args:
        predictions: as in `volume_metrics`.
        window: (low, high) in HU to which the volumes were clipped. The authors' numbers belong to the paper's window;
            any other one is mapped to their 2500 values.

    Returns:
        One handler for each key, named `paper_psnr_avg` for the first and `paper_psnr_avg/<key>` for the others. Each
        gives the engine all of `PAPER_MEASURES`, named in the same way, since they take seconds for a volume of 128^3
        and are computed once. The values of every case are kept.
    """
    low, high = float(window[0]), float(window[1])

    def measures(prediction_hu: torch.Tensor, target_hu: torch.Tensor) -> torch.Tensor:
        values = paper_metrics(hu_to_unit(prediction_hu, (low, high)), hu_to_unit(target_hu, (low, high)))
        return torch.stack(list(values.values()), dim=1)

    handlers = {}
    for key in predictions:
        names = [name if key == predictions[0] else f"{name}/{key}" for name in PAPER_MEASURES]
        metric = VolumeMetric(measures, reduction="mean_batch")
        handlers[names[0]] = _FamilyHandler(names, metric, key, required=key == predictions[0])
    return handlers
