"""Masks of a phantom against a prediction of it: figures where there are masks, sentences where there are not."""

import json

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cohort import thorax_phantom
from conventions import InputError
from drr import Acquisition, VolumeGrid
from engines import X2CTEvaluator
from handlers import EvaluationSummary, MaskedOrgans
from metrics import MASK_MEASURES, volume_metrics
from readers import lung_mask
from tests.handlers.test_case_card import Answer
from transforms import prediction_transforms

SPACING = 5.0
GRID = VolumeGrid(64, SPACING)


@pytest.fixture(scope="module")
def chest():
    return torch.from_numpy(thorax_phantom(1, (64, 64, 64), SPACING).volume_hu)[None, None].float().clamp(-1024, 1476)


def evaluate(folder, chest, masks):
    """The truth itself is predicted, of two cases."""
    unit = (chest + 1024) / 2500
    answer = MetaTensor(unit, meta={"affine": torch.from_numpy(GRID.affine())[None]})
    answer.is_batch = True
    batches = [
        {
            "image": torch.zeros(1, 2, 64, 64),
            "label": unit,
            "geometry": torch.zeros(1, 2, 4, 3),
            "case": [f"case_{number}"],
        }
        for number in range(2)
    ]
    X2CTEvaluator(
        "cpu",
        batches,
        Answer([answer, answer]),
        postprocessing=prediction_transforms(),
        key_val_metric=volume_metrics(),
        val_handlers=[MaskedOrgans(Acquisition(grid=GRID, detector_shape=64), masks), EvaluationSummary(folder)],
    ).run()
    record = json.loads((folder / "evaluation.json").read_text())
    return {(row["case"], row["measure"]): row["value"] for row in record["values"]}


def test_masks_of_the_truth_agree_with_a_prediction_that_is_the_truth(tmp_path, chest, caplog):
    masks = tmp_path / "masks"
    (masks / "case_0").mkdir(parents=True)
    lungs = lung_mask(chest[0, 0].numpy(), SPACING)
    half = lungs.copy()
    half[:32] = False
    for name, mask in (("lung", lungs), ("lung_right", half), ("liver", half), ("spleen", half)):
        nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), GRID.affine()), masks / "case_0" / f"{name}.nii.gz")
    with caplog.at_level("INFO", "x2ct.evaluation"):
        value = evaluate(tmp_path, chest, masks)
    assert value["case_0", "mask_lung_dice"] == 1
    assert value["case_0", "mask_lung_ml_error"] == value["case_0", "mask_lung_hd95_mm"] == 0
    assert 0 < value["case_0", "mask_lung_right_dice"] < 0.9
    assert value["case_0", "mask_bone_dice"] is value["case_0", "mask_heart_width_mm_error"] is None
    assert {value["case_1", name] for name in MASK_MEASURES} == {None}
    assert "compared with the given masks: lung_right, lung (of lung_right, lung_left, lung, body, bone" in caplog.text
    assert "2 given masks are not used (liver, spleen): without trained weights" in caplog.text
    assert "case_1: has no masks" in caplog.text


def test_without_a_folder_nothing_is_measured(tmp_path, chest):
    assert not any(name.startswith("mask_") for _, name in evaluate(tmp_path, chest, None))


def test_voxels_that_are_no_cubes_are_refused(tmp_path):
    flat = Acquisition(grid=VolumeGrid((64, 64, 64), (5.0, 5.0, 4.0)))
    with pytest.raises(InputError, match="organs are measured on voxels that are cubes"):
        MaskedOrgans(flat, tmp_path)
