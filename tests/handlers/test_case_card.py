import json

import numpy as np
import pytest
import torch
from torch import nn

from cohort import thorax_phantom
from conventions import InputError
from drr import Acquisition, VolumeGrid
from engines import X2CTEvaluator
from handlers import CaseCard, EvaluationSummary, case_card
from handlers.organs import segment_organs
from metrics import MEASURES, PROTOCOLS, volume_metrics
from transforms import prediction_transforms

SPACING = 5.0
ACQUISITION = Acquisition(grid=VolumeGrid(64, SPACING), detector_shape=64)


class Answer(nn.Module):
    """A generator that is given its answer: unit values, held for each call."""

    def __init__(self, volumes):
        super().__init__()
        self.volumes = iter(volumes)

    def forward(self, image, geometry=None):
        return next(self.volumes)


@pytest.fixture(scope="module")
def chests():
    """Two phantoms as unit values (1, 1, 64, 64, 64)."""
    return [
        (torch.from_numpy(thorax_phantom(seed, (64, 64, 64), SPACING).volume_hu)[None, None].clamp(-1024, 1476) + 1024)
        / 2500
        for seed in (1, 3)
    ]


def evaluate(folder, truths, answers, mean_volume=None):
    batches = [
        {
            "image": torch.zeros(1, 2, 64, 64),
            "label": truth,
            "geometry": torch.zeros(1, 2, 4, 3),
            "case": [f"case_{number}"],
            "patient": [f"Doe_{number}"],
        }
        for number, truth in enumerate(truths)
    ]
    X2CTEvaluator(
        "cpu",
        batches,
        Answer(answers),
        mean_volume=mean_volume,
        postprocessing=prediction_transforms(),
        key_val_metric=volume_metrics(),
        val_handlers=[CaseCard(ACQUISITION), EvaluationSummary(folder)],
    ).run()
    return json.loads((folder / "evaluation.json").read_text()), json.loads((folder / "summary.json").read_text())


def test_a_perfect_a_mirrored_and_a_mean_volume_are_told_apart(tmp_path, chests):
    """The mirrored volume has the same lungs, heart and histogram; organs, radiographs and structures expose it."""
    mean = torch.cat(chests).mean(0)
    record, summary = evaluate(tmp_path, chests, [chests[0], chests[1].flip(-1)], mean)
    value = {(row["case"], row["compared"], row["measure"]): row["value"] for row in record["values"]}

    def of(case, measure, compared="prediction"):
        return value[(f"case_{case}", compared, measure)]

    assert of(0, "lung_dice") == 1
    assert of(0, "lung_total_ml_error") == of(0, "reprojection_oblique") == of(0, "false_structure") == 0
    assert of(1, "lung_dice") < 0.95
    assert of(1, "reprojection_oblique") > 0.03
    assert of(1, "false_structure") > 0.1
    assert abs(of(1, "lung_total_ml_error")) < 50
    assert of(1, "lung_right_ml_error") == pytest.approx(-of(1, "lung_left_ml_error"), abs=50)
    for case in (0, 1):
        assert of(case, "bone_dice", "mean_volume") < 0.9
        assert of(case, "reprojection_oblique", "mean_volume") > 0.03
    low, high = summary["intervals"]["psnr_db"]["mean_volume"]
    assert low <= summary["psnr_db"]["mean_volume"] <= high


def test_the_record_says_what_each_figure_is_and_names_no_patient(tmp_path, chests):
    record, summary = evaluate(tmp_path, chests[:1], chests[1:])
    assert record["schema"] == "x2ct-evaluation 1"
    assert "Doe" not in (tmp_path / "evaluation.json").read_text()
    measured = {row["measure"] for row in record["values"]}
    assert measured == set(record["measures"])
    assert record["measures"]["synthrad_psnr"] == {
        "protocol": "synthrad2025",
        "unit": "dB",
        "region": "body",
        "better": "higher",
        "data_range": "-1024 to 3000 HU",
        "version": PROTOCOLS["synthrad2025"],
    }
    assert summary["intervals"] == {}  # one patient says nothing about others
    header, row = (tmp_path / "cases.csv").read_text().splitlines()
    assert len(header.split(",")) == len(row.split(",")) == len(measured) + 1


def test_what_cannot_be_measured_is_null_and_not_a_number(tmp_path, chests):
    """A prediction of air has no organs: Dice is 0, and there is neither a distance nor a width."""
    record, summary = evaluate(tmp_path, chests, [torch.zeros(1, 1, 64, 64, 64)] * 2)
    value = {row["measure"]: row["value"] for row in record["values"]}
    assert value["lung_dice"] == value["body_nsd"] == 0
    assert value["lung_hd95_mm"] is value["heart_width_mm_error"] is None
    assert summary["lung_hd95_mm"]["prediction"] is None
    assert value["false_structure"] == 1
    assert np.isclose(value["reprojection_shown"], 1, atol=0.01)


def test_a_prediction_that_is_not_finite_ends_the_run_by_its_name(tmp_path, chests):
    broken = chests[0].clone()
    broken[..., 3] = torch.nan
    with pytest.raises(InputError, match=r"case_0: the volume of 'pred' is not finite, so the model is broken"):
        evaluate(tmp_path, chests, [broken, chests[1]])
    assert not list(tmp_path.iterdir())


def test_a_constant_prediction_is_measured(tmp_path, chests):
    record, _ = evaluate(tmp_path, chests, [torch.full_like(chests[0], 0.43), chests[1]])
    value = {(row["case"], row["measure"]): row["value"] for row in record["values"]}
    assert value["case_0", "lung_dice"] == 0
    assert value["case_0", "spine_distance_mm"] is value["case_0", "ribs_distance_mm"] is None
    assert value["case_0", "mae_hu"] > 100


def test_the_mean_volume_is_segmented_once(tmp_path, chests, monkeypatch):
    segmented = []

    def count(volume, spacing):
        segmented.append(float(volume.sum()))
        return segment_organs(volume, spacing)

    monkeypatch.setattr(case_card, "segment_organs", count)
    evaluate(tmp_path, chests, [chests[1], chests[0]], torch.cat(chests).mean(0))
    assert len(segmented) == 2 * 2 + 1


def test_voxels_that_are_no_cubes_are_refused():
    with pytest.raises(InputError, match="voxels that are cubes"):
        CaseCard(Acquisition(grid=VolumeGrid((64, 64, 64), (5.0, 5.0, 4.0))))


def test_measures_of_one_protocol_share_no_name_with_another():
    assert {measure.protocol for measure in MEASURES.values()} == set(PROTOCOLS)
    for name, measure in MEASURES.items():
        assert name.startswith("paper_") == (measure.protocol == "paper")
        assert name.startswith("synthrad_") == (measure.protocol == "synthrad2025")
