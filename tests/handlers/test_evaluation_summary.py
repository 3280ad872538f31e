import csv
import json

import pytest
import torch
from torch import nn

from engines import X2CTEvaluator
from handlers import EvaluationSummary
from metrics import volume_metrics
from networks import Consistency
from transforms import prediction_transforms


class Constant(nn.Module):
    """A generator of volumes of one value, the mean of their radiographs."""

    def forward(self, image, geometry=None):
        return image.mean((1, 2, 3)).reshape(-1, 1, 1, 1, 1).expand(-1, 1, 8, 8, 8)


def evaluate(folder, cases=3, postprocessing=None, first=1, **options):
    """An evaluation whose MAE is known: labels of 0, predictions of 0.1, 0.2 ..., controls of 0.5 and 0.9."""
    batches = [
        {
            "image": torch.full((1, 2, 8, 8), 0.1 * number),
            "other_image": torch.full((1, 2, 8, 8), 0.9),
            "label": torch.zeros(1, 1, 8, 8, 8),
            "geometry": torch.zeros(1, 2, 4, 3),
            "case": [f"case_{number}"],
        }
        for number in range(first, cases + first)
    ]
    X2CTEvaluator(
        "cpu",
        batches,
        Constant(),
        mean_volume=torch.full((1, 8, 8, 8), 0.5),
        postprocessing=postprocessing or prediction_transforms(),
        key_val_metric=volume_metrics(),
        val_handlers=[EvaluationSummary(folder, **options)],
    ).run()


def test_means_are_in_the_summary_and_each_case_has_a_row(tmp_path):
    evaluate(tmp_path, record={"checkpoint": "model.pt"})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["held_out_cases"] == ["case_1", "case_2", "case_3"]
    assert summary["model"] == {"checkpoint": "model.pt"}
    assert summary["mae_hu"] == pytest.approx(
        {"prediction": 500, "mean_volume": 1250, "shuffled_input": 2250}, rel=1e-5
    )
    assert set(summary["psnr_db"]) == set(summary["ssim"]) == {"prediction", "mean_volume", "shuffled_input"}
    rows = list(csv.DictReader((tmp_path / "cases.csv").open()))
    assert [row["case"] for row in rows] == summary["held_out_cases"]
    assert [float(row["mae_hu/prediction"]) for row in rows] == pytest.approx([250, 500, 750], rel=1e-5)
    assert [float(row["mae_hu/mean_volume"]) for row in rows] == pytest.approx([1250] * 3, rel=1e-5)


def test_the_table_and_the_files_are_logged(tmp_path, caplog):
    with caplog.at_level("INFO", "x2ct.evaluation"):
        evaluate(tmp_path)
    [said] = [record.getMessage() for record in caplog.records if record.name == "x2ct.evaluation"]
    rows = {line[:40].strip(): line.split()[-1] for line in said.splitlines() if line.startswith("  ")}
    assert rows["this network"] == "500.0"
    assert rows["mean training volume"] == "1250.0"
    assert f"numbers   {tmp_path / 'summary.json'} (the averages)" in said
    assert str(tmp_path / "cases.csv") in said
    assert "losses" not in said  # there are none


def test_a_prediction_without_error_is_in_the_table(tmp_path, caplog):
    """Its PSNR is infinite, which JSON cannot hold as a number."""
    with caplog.at_level("INFO", "x2ct.evaluation"):
        evaluate(tmp_path, first=0)
    record = json.loads((tmp_path / "evaluation.json").read_text())
    value = {(row["case"], row["compared"]): row["value"] for row in record["values"] if row["measure"] == "psnr_db"}
    assert value["case_0", "prediction"] == "inf"
    assert value["case_1", "prediction"] == pytest.approx(20, rel=1e-5)
    assert json.loads((tmp_path / "summary.json").read_text())["psnr_db"]["prediction"] == "inf"
    [said] = [record.getMessage() for record in caplog.records if record.name == "x2ct.evaluation"]
    assert next(line for line in said.splitlines() if "this network" in line).split()[-3:] == ["inf", "0.337", "250.0"]
    assert "inf: a prediction equals the truth in every voxel" in said


def test_files_of_an_earlier_run_are_kept(tmp_path):
    evaluate(tmp_path)
    evaluate(tmp_path, cases=2)
    assert len(json.loads((tmp_path / "summary.json").read_text())["held_out_cases"]) == 2
    assert len(list(tmp_path.glob("summary_*.json"))) == len(list(tmp_path.glob("cases_*.csv"))) == 1


def test_the_agreement_with_the_films_is_summed_up(tmp_path):
    """Two cases whose differences are known: root mean squares of (0.3, 0.4) and of (0.6, 0.8)."""

    class Update:
        def update(self, volume, image, geometry, field, real):
            scale = 1 if float(image.mean()) < 0.15 else 2
            record = Consistency("given", 0.1, 100.0, (0.3 * scale, 0.4 * scale), (0.0, 0.1), (1, 1), ((), ("look",)))
            return volume, [record], torch.zeros(1, 3, 2, 8, 8)

    evaluate(tmp_path, cases=2, postprocessing=prediction_transforms(update=Update()))
    summary = json.loads((tmp_path / "summary.json").read_text())
    agreement = summary["consistency"]
    root = 0.5**0.5
    assert agreement["film_difference_before"] == pytest.approx((0.5 + 1.0) / 2 * root, rel=1e-5)
    assert agreement["film_difference_after"] == pytest.approx(0.1 * root, rel=1e-5)
    assert (agreement["tone"], agreement["doubted_cases"]) == ("given", 2)
    assert "without_update" in summary["psnr_db"]
    rows = list(csv.DictReader((tmp_path / "cases.csv").open()))
    assert [float(row["film_difference/before"]) for row in rows] == pytest.approx([0.5 * root, root])
