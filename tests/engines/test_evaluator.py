import csv
import json

import pytest
import torch
from torch import nn

from conventions import expand_views
from engines import SummaryWriter, X2CTEvaluator
from metrics import volume_metrics
from transforms import UnitToHUd


class FirstView(nn.Module):
    """Predicts the PA, repeated along its rays."""

    def forward(self, image, geometry=None):
        return expand_views(image, image.shape[-1])[:, :1]


@pytest.fixture
def batches():
    torch.manual_seed(0)
    return [
        {
            "image": torch.rand(1, 2, 8, 8),
            "other_image": torch.rand(1, 2, 8, 8),
            "label": torch.rand(1, 1, 8, 8, 8),
            "case": [f"case_{i}"],
        }
        for i in range(3)
    ]


def test_prediction_beside_mean_and_shuffled(batches, tmp_path):
    keys = ["pred", "mean_volume", "shuffled_input"]
    mean = torch.full((1, 8, 8, 8), 0.5)
    X2CTEvaluator(
        "cpu",
        batches,
        FirstView(),
        mean_volume=mean,
        postprocessing=UnitToHUd([*keys, "label"]),
        key_val_metric=volume_metrics(keys),
        val_handlers=[SummaryWriter(tmp_path, {"geometry": "x2ct"})],
    ).run()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["held_out_cases"] == ["case_0", "case_1", "case_2"]
    assert set(summary["psnr_db"]) == {"prediction", "mean_volume", "shuffled_input"}
    network = FirstView()
    by_hand = {
        "prediction": [(network(b["image"]) - b["label"]).abs().mean() * 2500 for b in batches],
        "mean_volume": [(mean - b["label"]).abs().mean() * 2500 for b in batches],
        "shuffled_input": [(network(b["other_image"]) - b["label"]).abs().mean() * 2500 for b in batches],
    }
    for name, values in by_hand.items():
        assert summary["mae_hu"][name] == pytest.approx(float(sum(values)) / 3, abs=2e-2)
    rows = list(csv.DictReader((tmp_path / "cases.csv").open()))
    assert [row["case"] for row in rows] == summary["held_out_cases"]
    assert float(rows[1]["mae_hu/prediction"]) == pytest.approx(float(by_hand["prediction"][1]), abs=2e-2)


def test_without_a_label_it_predicts(batches):
    seen = []
    for batch in batches:
        del batch["label"], batch["other_image"]

    class Keep:
        def attach(self, engine):
            from ignite.engine import Events

            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: seen.extend(e.state.output))

    X2CTEvaluator("cpu", batches, FirstView(), val_handlers=[Keep()]).run()
    assert len(seen) == 3
    assert set(seen[0]) == {"image", "pred"}
    assert seen[0]["pred"].shape == (1, 8, 8, 8)
