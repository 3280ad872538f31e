"""What a cohort's check finds: files that are not what they were, and folds that share something."""

import json

import nibabel
import numpy as np
import pytest

from cohort import load_datalist, validate_cohort
from conventions import InputError

FOLDS = {"a": "train", "b": "train", "c": "validation", "d": "test"}


@pytest.fixture
def cohort(tmp_path):
    """Four CTs of four patients, and a function that changes the manifest."""
    cases = []
    for number, (name, fold) in enumerate(FOLDS.items()):
        voxels = np.random.default_rng(number).integers(-1000, 1000, (6, 5, 4)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{name}.nii.gz")
        cases.append({"case": name, "patient": f"p{number}", "ct": f"{name}.nii.gz", "fold": fold,
                      "source": {"series": f"s{number}"}})  # fmt: skip
    manifest = tmp_path / "manifest.json"

    def write(**changes):
        changed = [{**case, **changes.get(case["case"], {})} for case in cases]
        manifest.write_text(json.dumps({"version": 1, "seed": 0, "cases": changed}))
        return manifest

    return write


def test_a_whole_cohort_has_no_faults(cohort):
    assert validate_cohort(cohort()) == []
    assert validate_cohort(cohort().parent) == []


def test_folds_that_share_a_patient_or_a_series(cohort):
    assert validate_cohort(cohort(c={"patient": "p0"})) == ["a: its patient is in several folds: train, validation"]
    assert validate_cohort(cohort(d={"source": {"series": "s1"}})) == ["b: its series is in several folds: test, train"]
    assert validate_cohort(cohort(b={"patient": "p0"})) == []


def test_one_image_under_two_names_in_two_types(cohort):
    manifest = cohort()
    copied = nibabel.load(manifest.parent / "a.nii.gz").get_fdata(dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(copied, np.eye(4)), manifest.parent / "d.nii.gz")
    assert validate_cohort(manifest) == ["a: its image is in several folds: test, train"]


def test_files_that_are_missing_damaged_or_others(cohort):
    manifest = cohort(a={"sha256": "0" * 64}, b={"ct": "gone.nii.gz"}, c={"fold": "training"})
    damaged = manifest.parent / "d.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    found = validate_cohort(manifest)
    assert "is not the file that was prepared (SHA-256)" in found[0]
    assert "gone.nii.gz does not exist" in found[1]
    assert found[2] == "c: is in fold 'training', which is none of train, validation, test"
    assert found[3].startswith(f"d: {damaged} cannot be read")
    assert len(found) == 4


def test_training_refuses_a_patient_in_two_folds(cohort):
    with pytest.raises(InputError, match="patient 'p0' is in two folds, train and test, so a model would be measured"):
        load_datalist(cohort(d={"patient": "p0"}), "train")


def test_what_is_no_manifest(tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match=r"manifest.json: is no manifest"):
        validate_cohort(tmp_path)
