import json
import logging

import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, RandScaleIntensityd

from cohort import cached_dataset, ready_manifest, split_cohort
from cohort.phantoms import write_phantoms
from conventions import InputError
from transforms import ReadVolumed


def write_cts(folder, *names):
    folder.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        voxels = np.full((4, 5, 6), 100 * number, np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2, 2, 2, 1.0])), folder / f"{name}.nii.gz")


def test_a_folder_of_cts_is_split_by_patient_once(tmp_path, caplog):
    write_cts(tmp_path, "smith__one", "smith__two", "jones", "miller", "baker")
    with caplog.at_level(logging.INFO, logger="x2ct.cohort"):
        manifest = ready_manifest(tmp_path)
    assert "by patient, recognised by file name" in caplog.text
    cases = json.loads(manifest.read_text())["cases"]
    assert {case["fold"] for case in cases} == {"train", "validation", "test"}
    assert len({case["fold"] for case in cases if case["patient"] == "smith"}) == 1
    before = manifest.stat().st_mtime_ns
    assert ready_manifest(tmp_path) == ready_manifest(manifest) == manifest
    assert manifest.stat().st_mtime_ns == before


def test_an_existing_manifest_is_kept(tmp_path):
    write_cts(tmp_path, "a", "b", "c")
    written = split_cohort(tmp_path, test=1, validation=1, seed=7)
    assert ready_manifest(tmp_path) == written
    assert json.loads(written.read_text())["seed"] == 7


def test_patients_may_be_listed(tmp_path):
    write_cts(tmp_path / "cts", "a", "b", "c", "d")
    listed = {"p": ["a.nii.gz", "b.nii.gz"], "q": ["c.nii.gz"], "r": ["d.nii.gz"]}
    (tmp_path / "list.json").write_text(json.dumps(listed))
    cases = json.loads(ready_manifest(tmp_path / "cts", tmp_path / "list.json").read_text())["cases"]
    assert {case["patient"] for case in cases} == set(listed)


def test_a_manifest_that_follows_another_list_is_refused(tmp_path):
    write_cts(tmp_path / "cts", "a", "b", "c", "d")
    listed = {"p": ["a.nii.gz"], "q": ["b.nii.gz"], "r": ["c.nii.gz"], "s": ["d.nii.gz"]}
    (tmp_path / "list.json").write_text(json.dumps(listed))
    manifest = ready_manifest(tmp_path / "cts", tmp_path / "list.json")
    assert ready_manifest(tmp_path / "cts", tmp_path / "list.json") == manifest
    (tmp_path / "list.json").write_text(json.dumps({**listed, "p": ["a.nii.gz", "b.nii.gz"], "q": []}))
    with pytest.raises(InputError, match=r"manifest\.json: was split with b\.nii\.gz under another patient than in"):
        ready_manifest(tmp_path / "cts", tmp_path / "list.json")


def test_without_a_folder_there_are_phantoms(tmp_path):
    manifest = ready_manifest(tmp_path / "cohort", phantom_folder=tmp_path / "cohort", phantoms=3)
    assert [case["case"] for case in json.loads(manifest.read_text())["cases"]] == [f"phantom_000{i}" for i in range(3)]


def test_a_named_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent: there is no such cohort; give --dataset_dir"):
        ready_manifest(tmp_path / "absent", phantom_folder=tmp_path / "cohort")
    with pytest.raises(InputError, match=r"holds no CT file"):
        ready_manifest(tmp_path)


def test_cases_are_kept_in_files_for_the_next_run(tmp_path):
    files = write_phantoms(tmp_path / "cts", cases=2, size=16)
    data = [{"label": str(file), "case": file.name} for file in files]
    transform = Compose([ReadVolumed("label"), RandScaleIntensityd("label", factors=0.0, prob=1.0)])
    first = [item["label"] for item in cached_dataset(data, transform, cache_dir=tmp_path / "cache")]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(files) == 2
    (tmp_path / "cts").rename(tmp_path / "gone")  # only the files are left to read
    again = [item["label"] for item in cached_dataset(data, transform, cache_dir=tmp_path / "cache")]
    in_memory = cached_dataset([{**item, "label": item["label"].replace("cts", "gone")} for item in data], transform)
    for a, b, c in zip(first, again, in_memory, strict=True):
        assert isinstance(b, MetaTensor)
        assert torch.equal(a.affine, b.affine)
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(c["label"]))
    assert {path: path.stat().st_mtime_ns for path in files} == files
