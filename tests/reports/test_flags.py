"""Models whose averages mislead are exposed, and one that sees its patient is not."""

import json

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from conventions import InputError
from export import write_nifti
from reports import check_evaluation, examine_volumes, read_evaluation
from tests.reports.evaluations import ACQUISITION, HELD_OUT, TRAINING, chests, mean_volume, write_evaluation
from transforms import RayCastDRR


def blurred(number):
    """What a model gives that sees its patient: the truth, blurred, with a part of the mean."""
    return gaussian_filter(0.75 * chests()[number] + 0.25 * mean_volume(), 0.7)


def mirrored(number):
    return np.ascontiguousarray(blurred(number)[:, :, ::-1])


def nearest(number):
    """The training case whose radiographs are nearest to those of the case."""
    render = RayCastDRR(ACQUISITION)
    shown, *others = (render(torch.from_numpy(chests()[n])[None]) for n in (number, *TRAINING))
    distances = [float((other - shown).square().mean()) for other in others]
    return chests()[TRAINING[int(np.argmin(distances))]]


def answers(folder):
    record = read_evaluation(folder)
    return {check.name: check for check in check_evaluation(record, examine_volumes(folder, record.cases))}


def flags(folder):
    return {name for name, check in answers(folder).items() if check.state == "flag"}


def test_a_model_that_sees_its_patient_has_no_flag(tmp_path):
    found = answers(write_evaluation(tmp_path, blurred))
    assert {check.state for check in found.values()} == {"passed"}, found


def test_a_model_that_gives_the_mean_volume_is_exposed(tmp_path):
    found = answers(write_evaluation(tmp_path, lambda number: mean_volume()))
    assert {name for name, check in found.items() if check.state == "flag"} >= {
        "better than the mean training volume",
        "reads its radiographs",
        "agrees with the radiographs it was shown",
    }
    assert "PSNR is +0.00 dB (95 % interval +0.00 to +0.00)" in found["better than the mean training volume"].words


def test_a_model_whose_output_is_mirrored_is_exposed(tmp_path):
    found = answers(write_evaluation(tmp_path, mirrored))
    assert found["left is left"].state == "flag"
    upright, flipped = (
        np.mean([np.sqrt(np.mean((side - chests()[n]) ** 2)) for n in HELD_OUT for side in [made(n)]])
        for made in (blurred, mirrored)
    )
    words = found["left is left"].words
    assert words.startswith(f"RMS error {flipped:.0f} HU, {upright:.0f} HU with")


def test_a_model_that_copies_the_nearest_training_case_is_exposed(tmp_path):
    assert flags(write_evaluation(tmp_path, nearest)) >= {
        "details of this patient",
        "agrees with the radiographs it was shown",
    }


def test_one_patient_says_nothing_of_others(tmp_path):
    found = answers(write_evaluation(tmp_path, blurred, names=("a", "b"), patients=("p", "p")))
    assert found["more than one patient"].state == "flag"
    assert found["more than one patient"].words.startswith("all cases are of one patient: there are no intervals")
    assert found["better than the mean training volume"].state == "not checked"


def test_what_is_missing_constant_or_not_finite_is_named(tmp_path):
    folder = write_evaluation(tmp_path, lambda n: np.full_like(mean_volume(), -1000) if n == 1 else blurred(n))
    (folder / "volumes" / "a.nii.gz").unlink()
    content = json.loads((folder / "evaluation.json").read_text())
    lost = [row for row in content["values"] if row["case"] == "c" and row["measure"] == "psnr_db"]
    lost[0]["value"] = None
    (folder / "evaluation.json").write_text(json.dumps(content))
    found = answers(folder)
    assert "volumes/a.nii.gz: cannot be read" in found["volumes complete and sound"].words
    assert "b: every voxel of the predicted volume is -1000 HU" in found["volumes complete and sound"].words
    assert str(folder) not in found["volumes complete and sound"].words
    assert found["each case measured"].words.startswith("no PSNR of c:")


def test_a_volume_of_another_shape_is_named(tmp_path):
    folder = write_evaluation(tmp_path, blurred)
    write_nifti(folder / "volumes" / "b.nii.gz", blurred(1)[:20], ACQUISITION.grid.affine())
    sidecar = folder / "volumes" / "b.json"
    sidecar.write_text((folder / "volumes" / "a.json").read_text())
    found = answers(folder)["volumes complete and sound"]
    assert found.state == "flag"
    assert "b: prediction_hu has the shape (20, 40, 40), the acquisition says (40, 40, 40)" in found.words


def test_without_volumes_the_checks_of_volumes_are_not_made(tmp_path):
    folder = write_evaluation(tmp_path, blurred)
    (folder / "volumes").rename(tmp_path / "elsewhere")
    found = answers(folder)
    for name in ("volumes complete and sound", "left is left", "details of this patient"):
        assert found[name].state == "not checked"


def test_the_true_lung_volume_is_that_of_the_mask(tmp_path):
    found = examine_volumes(write_evaluation(tmp_path, blurred), ["a", "b", "c"])
    assert list(found.lung_ml) == ["a", "b", "c"]
    assert all(2000 < ml < 5000 for ml in found.lung_ml.values())
    np.testing.assert_allclose(found.rms_hu[0], np.sqrt(np.mean((blurred(0) - chests()[0]) ** 2)), rtol=0.01)


def test_an_evaluation_of_another_form_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no evaluation\.json; give the output_dir of evaluating"):
        read_evaluation(tmp_path)
    for text, words in (("{", "cannot be read"), ('{"schema": "x"}', "is not of the form 'x2ct-evaluation 1'")):
        (tmp_path / "evaluation.json").write_text(text)
        with pytest.raises(InputError, match=words):
            read_evaluation(tmp_path)
