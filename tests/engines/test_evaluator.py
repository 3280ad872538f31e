"""Predictions and controls of an evaluation."""

import pytest
import torch
from ignite.engine import Events
from monai.engines.utils import default_prepare_batch
from torch import nn

from conventions import InputError, expand_views
from engines import X2CTEvaluator
from metrics import volume_metrics
from transforms import UnitToHUd, prediction_transforms


class FirstView(nn.Module):
    """Predicts the PA, repeated along its rays, and remembers the views it is given."""

    def __init__(self):
        super().__init__()
        self.given = []

    def forward(self, image, geometry=None):
        self.given.append(geometry)
        return expand_views(image, image.shape[-1])[:, :1]


class Keep:
    """Keeps the outputs of all batches."""

    def __init__(self):
        self.outputs = []

    def attach(self, engine):
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: self.outputs.extend(e.state.output))


@pytest.fixture
def batches():
    torch.manual_seed(0)
    return [
        {
            "image": torch.rand(1, 2, 8, 8),
            "geometry": torch.rand(1, 2, 4, 3),
            "other_image": torch.rand(1, 2, 8, 8),
            "other_geometry": torch.rand(1, 2, 4, 3),
            "label": torch.rand(1, 1, 8, 8, 8),
            "case": [f"case_{i}"],
        }
        for i in range(3)
    ]


def test_prediction_and_controls_are_measured_alike(batches):
    keys = ["pred", "mean_volume", "nearest_case", "shuffled_input"]
    mean = torch.full((1, 8, 8, 8), 0.5)
    nearest = torch.rand(1, 1, 8, 8, 8)
    evaluator = X2CTEvaluator(
        "cpu",
        batches,
        FirstView(),
        mean_volume=mean,
        nearest_case=lambda image: nearest.expand(len(image), -1, -1, -1, -1),
        postprocessing=UnitToHUd([*keys, "label"]),
        key_val_metric=volume_metrics(keys),
    )
    evaluator.run()
    network = FirstView()
    by_hand = {
        "mae_hu": [(network(b["image"]) - b["label"]).abs().mean() * 2500 for b in batches],
        "mae_hu/mean_volume": [(mean - b["label"]).abs().mean() * 2500 for b in batches],
        "mae_hu/nearest_case": [(nearest - b["label"]).abs().mean() * 2500 for b in batches],
        "mae_hu/shuffled_input": [(network(b["other_image"]) - b["label"]).abs().mean() * 2500 for b in batches],
    }
    for name, values in by_hand.items():
        assert evaluator.state.metrics[name] == pytest.approx(float(sum(values)) / 3, abs=2e-2)


def test_each_prediction_is_given_the_views_of_its_own_radiographs(batches):
    network = FirstView()
    X2CTEvaluator("cpu", batches, network).run()
    expected = [batch[key] for batch in batches for key in ("geometry", "other_geometry")]
    assert len(network.given) == 6
    assert all(torch.equal(found, views) for found, views in zip(network.given, expected, strict=True))


def test_a_network_of_the_radiographs_alone_is_evaluated_too(batches):
    network = nn.Sequential(nn.Flatten(), nn.Linear(128, 512), nn.Unflatten(1, (1, 8, 8, 8)))
    keep = Keep()
    X2CTEvaluator("cpu", batches, network, prepare_batch=default_prepare_batch, val_handlers=[keep]).run()
    assert torch.equal(keep.outputs[0]["pred"], network(batches[0]["image"])[0])
    assert torch.equal(keep.outputs[0]["shuffled_input"], network(batches[0]["other_image"])[0])


def test_without_a_label_it_predicts(batches):
    for batch in batches:
        del batch["label"], batch["other_image"]
    keep = Keep()
    X2CTEvaluator("cpu", batches, FirstView(), val_handlers=[keep]).run()
    assert len(keep.outputs) == 3
    assert set(keep.outputs[0]) == {"image", "pred"}
    assert keep.outputs[0]["pred"].shape == (1, 8, 8, 8)


class WithError(FirstView):
    """The same, that expects errors of 0.02."""

    def forward_with_error(self, image, geometry=None):
        volume = self(image, geometry)
        return volume, torch.full_like(volume, 0.02)


def test_expected_errors_are_in_the_output_and_in_hu(batches):
    keep = Keep()
    post = prediction_transforms()
    X2CTEvaluator("cpu", batches, WithError(), with_error=True, postprocessing=post, val_handlers=[keep]).run()
    torch.testing.assert_close(torch.as_tensor(keep.outputs[0]["expected_error"]), torch.full((1, 8, 8, 8), 50.0))


def test_a_network_without_expected_errors_is_refused(batches):
    with pytest.raises(InputError, match="estimates its errors"):
        X2CTEvaluator("cpu", batches, FirstView(), with_error=True)
