import logging

import nibabel
import numpy as np
import pytest
import torch
from monai.data import CacheDataset
from monai.transforms import Compose

from cohort import (
    WithOtherRadiographs,
    describe_data,
    load_datalist,
    mean_training_volume,
    mean_volume,
    patient_keys,
    split_cohort,
    thorax_phantom,
)
from conventions import InputError
from drr import Acquisition, VolumeGrid
from networks import mean_path
from storage import write_tensors
from transforms import RayCastDRRd, case_transforms

GRID = VolumeGrid(32, 10.0)
KEYS = {"a": "ca978112ca1bbdca", "b": "3e23e8160039594a"}
"""First 16 digits of the SHA-256 of a name, as any other tool computes them."""


def test_patient_keys_name_nobody():
    train, validation = [{"patient": "a"}, {"patient": "a"}], [{"patient": "b"}]
    assert patient_keys([train, validation]) == sorted(KEYS.values())
    assert patient_keys([validation]) == [KEYS["b"]]


def test_the_data_of_a_model_are_counted_and_their_patients_kept_as_keys():
    train = [{"patient": "a", "case": "a__1"}, {"patient": "a", "case": "a__2"}]
    validation = [{"patient": "b", "case": "b"}]
    assert describe_data(train, validation) == {
        "data": {"train_cases": 2, "validation_cases": 1},
        "patients": sorted(KEYS.values()),
    }
    assert describe_data(train, []) == {"data": {"train_cases": 2, "validation_cases": 0}, "patients": [KEYS["a"]]}


def radiographs_of(patients, views):
    """A dataset of phantoms whose radiographs each have a geometry of their own."""
    items = []
    for number, patient in enumerate(patients):
        volume = torch.from_numpy(thorax_phantom(number, GRID.shape, GRID.spacing[0]).volume_hu)[None]
        acquisition = Acquisition(grid=GRID, view_names=views[number], detector_shape=16)
        item = RayCastDRRd("label", acquisition)({"label": volume})
        items.append({**item, "patient": patient})
    return CacheDataset(items, Compose([]), progress=False)


def test_the_other_radiographs_are_another_patients_and_bring_their_geometry():
    views = [("pa", "lateral"), ("ap", "lateral"), ("pa", "oblique_45"), ("parallel_pa", "left_lateral")]
    data = radiographs_of(["a", "a", "b", "c"], views)
    cases = WithOtherRadiographs(data)
    assert len(cases) == 4
    for index, other in enumerate([2, 2, 3, 0]):
        item = cases[index]
        assert item["patient"] != data[other]["patient"]
        for key, expected in (("", data[index]), ("other_", data[other])):
            assert torch.equal(torch.as_tensor(item[f"{key}image"]), torch.as_tensor(expected["image"]))
            assert torch.equal(item[f"{key}geometry"], expected["geometry"])
        assert not torch.equal(item["other_geometry"], item["geometry"])


def test_other_radiographs_need_no_geometry_but_another_patient():
    items = [{"patient": patient, "image": torch.zeros(2, 4, 4)} for patient in ("a", "b")]
    item = WithOtherRadiographs(CacheDataset(items, Compose([]), progress=False))[0]
    assert set(item) == {"patient", "image", "other_image"}
    with pytest.raises(InputError, match="all 2 held-out cases belong to one patient"):
        WithOtherRadiographs(CacheDataset([items[0], items[0]], Compose([]), progress=False))


def test_mean_volume_is_numpys():
    rng = np.random.default_rng(0)
    volumes = rng.uniform(0, 1, (5, 1, 3, 4, 5)).astype(np.float32)
    mean = mean_volume([{"label": i} for i in range(5)], lambda item: {"label": torch.tensor(volumes[item["label"]])})
    np.testing.assert_allclose(mean, volumes.mean(0), rtol=1e-6)
    with pytest.raises(InputError, match="empty"):
        mean_volume([], lambda item: item)


@pytest.fixture
def cohort(tmp_path):
    """A manifest of three phantoms: one for training, one for validation, one for the test."""
    for number in range(3):
        volume_hu = thorax_phantom(number, GRID.shape, GRID.spacing[0]).volume_hu
        image = nibabel.Nifti1Image(np.rint(volume_hu).astype(np.int16), GRID.affine())
        nibabel.save(image, tmp_path / f"case_{number}.nii.gz")
    return split_cohort(tmp_path, test=1, validation=1)


@pytest.fixture
def transform():
    return case_transforms(Acquisition(grid=GRID, detector_shape=16))


def test_the_mean_saved_with_the_model_needs_no_training_fold(tmp_path, transform, caplog):
    checkpoint, saved = tmp_path / "model.pt", torch.rand(1, 4, 4, 4)
    write_tensors(mean_path(checkpoint), saved)
    assert torch.equal(mean_training_volume(checkpoint, tmp_path / "no manifest", transform), saved)
    assert not caplog.records
    mean_path(checkpoint).write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"model_mean.pt: is not the mean training volume"):
        mean_training_volume(checkpoint, tmp_path / "no manifest", transform)


def test_without_a_saved_mean_the_training_fold_is_averaged(tmp_path, cohort, transform, caplog):
    mean = mean_training_volume(tmp_path / "model.pt", cohort, transform)
    (item,) = load_datalist(cohort, "train")
    torch.testing.assert_close(mean, torch.as_tensor(transform(item)["label"]).as_subclass(torch.Tensor))
    assert not caplog.records


def without_manifest(manifest):
    manifest.unlink()


def without_training_file(manifest):
    (item,) = load_datalist(manifest, "train")
    (manifest.parent / item["label"]).unlink()


def with_damaged_training_file(manifest):
    (item,) = load_datalist(manifest, "train")
    (manifest.parent / item["label"]).write_bytes(b"damaged")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(without_manifest, "holds no manifest.json", id="no manifest"),
        pytest.param(without_training_file, "which does not exist", id="missing CT"),
        pytest.param(with_damaged_training_file, "cannot be read", id="damaged CT"),
    ],
)
def test_without_either_mean_the_control_is_left_out_and_one_line_says_why(
    tmp_path, cohort, transform, damage, reason, caplog
):
    damage(cohort)
    with caplog.at_level(logging.INFO):
        assert mean_training_volume(tmp_path / "model.pt", cohort.parent, transform) is None
    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("x2ct")]
    assert message.startswith('the control "mean training volume" is left out: none was saved with ')
    assert reason in message
    assert "\n" not in message


def test_a_fault_of_the_program_is_no_reason_to_leave_the_control_out(tmp_path, cohort):
    with pytest.raises(ZeroDivisionError):
        mean_training_volume(tmp_path / "model.pt", cohort, lambda item: {"label": 1 / 0})
