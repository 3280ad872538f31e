import numpy as np
import pytest
import torch
from ignite.engine import Engine
from skimage.metrics import peak_signal_noise_ratio

from conventions import hu_to_unit
from metrics import PAPER_MEASURES, VolumeMetric, mae, paper_metrics, paper_volume_metrics, volume_metrics


def test_mean_over_all_cases_not_over_batches():
    metric = VolumeMetric(mae)
    metric(torch.zeros(3, 1, 2, 2, 2), torch.ones(3, 1, 2, 2, 2))
    metric(torch.zeros(1, 1, 2, 2, 2), torch.full((1, 1, 2, 2, 2), 5.0))
    assert float(metric.aggregate()) == 2.0
    metric.reset()
    metric(torch.zeros(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2))
    assert float(metric.aggregate()) == 1.0


@pytest.fixture
def cases():
    """Three cases in HU as an evaluator leaves them, with two predictions each."""
    rng = np.random.default_rng(0)
    return [
        {
            "label": torch.tensor(rng.uniform(-1024, 1476, (1, 9, 9, 9))),
            "pred": torch.tensor(rng.uniform(-1024, 1476, (1, 9, 9, 9))),
            "mean_volume": torch.zeros(1, 9, 9, 9, dtype=torch.float64),
        }
        for _ in range(3)
    ]


def run(handlers, cases):
    """An engine that has measured the cases."""
    engine = Engine(lambda _engine, case: [case])
    for name, handler in handlers.items():
        handler.attach(engine, name)
    engine.run(cases)
    return engine


def test_handlers_measure_each_prediction(cases):
    handlers = volume_metrics(["pred", "mean_volume"])
    assert next(iter(handlers)) == "psnr_db"
    engine = run(handlers, cases)
    expected = np.mean([peak_signal_noise_ratio(c["label"].numpy(), c["pred"].numpy(), data_range=2500) for c in cases])
    assert float(engine.state.metrics["psnr_db"]) == pytest.approx(expected)
    assert float(engine.state.metrics["mae_hu/mean_volume"]) == pytest.approx(
        np.mean([np.abs(c["label"].numpy()).mean() for c in cases])
    )
    assert engine.state.metric_details["ssim"].shape == (3, 1)


def test_the_papers_measures_are_metrics_of_their_own(cases):
    handlers = paper_volume_metrics(["pred", "mean_volume"])
    assert list(handlers) == ["paper_psnr_avg", "paper_psnr_avg/mean_volume"]
    engine = run(handlers, cases)
    assert set(engine.state.metrics) == set(engine.state.metric_details)
    assert set(engine.state.metrics) == {*PAPER_MEASURES, *(f"{name}/mean_volume" for name in PAPER_MEASURES)}
    for key, suffix in (("pred", ""), ("mean_volume", "/mean_volume")):
        by_hand = [paper_metrics(hu_to_unit(c[key])[None], hu_to_unit(c["label"])[None]) for c in cases]
        for name in PAPER_MEASURES:
            expected = torch.cat([case[name] for case in by_hand])
            torch.testing.assert_close(engine.state.metric_details[name + suffix], expected[:, None])
            assert engine.state.metrics[name + suffix] == pytest.approx(float(expected.mean()))


def test_the_two_families_share_no_name(cases):
    corrected, paper = run(volume_metrics(), cases), run(paper_volume_metrics(), cases)
    assert not set(corrected.state.metrics) & set(paper.state.metrics)
    assert all(name.startswith("paper_") for name in paper.state.metrics)


def test_the_papers_measures_of_another_window(cases):
    shifted = [{key: volume + 100 for key, volume in case.items()} for case in cases]
    there = run(paper_volume_metrics(window=(-924, 1576)), shifted).state.metrics
    assert there["paper_psnr_3d"] == pytest.approx(run(paper_volume_metrics(), cases).state.metrics["paper_psnr_3d"])


@pytest.mark.parametrize("make", [volume_metrics, paper_volume_metrics])
def test_a_control_that_the_output_lacks_is_not_measured(cases, make):
    for case in cases:
        del case["mean_volume"]
    engine = run(make(["pred", "mean_volume"]), cases)
    assert engine.state.metrics == run(make(), cases).state.metrics
    assert set(engine.state.metric_details) == set(engine.state.metrics)
    with pytest.raises(KeyError, match="mean_volume"):
        run(make(["mean_volume", "pred"]), cases)
