import numpy as np
import pytest
import torch
from ignite.engine import Engine
from skimage.metrics import peak_signal_noise_ratio

from metrics import VolumeMetric, mae, volume_metrics


def test_mean_over_all_cases_not_over_batches():
    metric = VolumeMetric(mae)
    metric(torch.zeros(3, 1, 2, 2, 2), torch.ones(3, 1, 2, 2, 2))
    metric(torch.zeros(1, 1, 2, 2, 2), torch.full((1, 1, 2, 2, 2), 5.0))
    assert float(metric.aggregate()) == 2.0
    metric.reset()
    metric(torch.zeros(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2))
    assert float(metric.aggregate()) == 1.0


def test_handlers_measure_each_prediction():
    rng = np.random.default_rng(0)
    cases = [
        {
            "label": torch.tensor(rng.uniform(-1024, 1476, (1, 9, 9, 9))),
            "pred": torch.tensor(rng.uniform(-1024, 1476, (1, 9, 9, 9))),
            "mean_volume": torch.zeros(1, 9, 9, 9, dtype=torch.float64),
        }
        for _ in range(3)
    ]
    engine = Engine(lambda _engine, case: [case])
    handlers = volume_metrics(["pred", "mean_volume"])
    assert next(iter(handlers)) == "psnr_db"
    for name, handler in handlers.items():
        handler.attach(engine, name)
    engine.state.metric_details = {}
    engine.run(cases)
    expected = np.mean([peak_signal_noise_ratio(c["label"].numpy(), c["pred"].numpy(), data_range=2500) for c in cases])
    assert float(engine.state.metrics["psnr_db"]) == pytest.approx(expected)
    assert float(engine.state.metrics["mae_hu/mean_volume"]) == pytest.approx(
        np.mean([np.abs(c["label"].numpy()).mean() for c in cases])
    )
    assert engine.state.metric_details["ssim"].shape == (3, 1)
