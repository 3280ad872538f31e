import json
import logging
import os
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cohort import load_datalist, ready_manifest, split_cohort
from conventions import InputError
from tests.processes import in_a_process_of_its_own


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


def test_phantoms_are_made_for_those_who_ask_for_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"no cohort was given: give --dataset_dir FOLDER, .* or --dataset_dir phantoms"
    ):
        ready_manifest(None)
    with pytest.raises(InputError, match="no cohort was given"):
        load_datalist(None, "test")
    assert not list(tmp_path.iterdir())
    manifest = ready_manifest("phantoms", phantoms=3)
    assert manifest == Path("phantoms", "manifest.json")
    assert [case["case"] for case in json.loads(manifest.read_text())["cases"]] == [f"phantom_000{i}" for i in range(3)]
    assert len(load_datalist("phantoms", "test")) == 1  # the name serves evaluation too


def test_a_folder_of_the_users_with_that_name_is_theirs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cts(tmp_path / "phantoms", "a", "b", "c")
    cases = json.loads(ready_manifest("phantoms").read_text())["cases"]
    assert [case["case"] for case in cases] == ["a", "b", "c"]


def test_a_named_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent: there is no such cohort; give --dataset_dir"):
        ready_manifest(tmp_path / "absent")
    with pytest.raises(InputError, match=r"phantoms: there is no such cohort; give --dataset_dir"):
        ready_manifest(tmp_path / "phantoms")
    with pytest.raises(InputError, match=r"holds no CT file"):
        ready_manifest(tmp_path)


@pytest.fixture
def read_only():
    """A folder of CTs that others may read and not write to, and the user to be."""
    with tempfile.TemporaryDirectory() as folder:
        write_cts(Path(folder), "a", "b", "c", "d")
        os.chmod(folder, 0o555)
        yield Path(folder), 65534 if os.getuid() == 0 else os.getuid()  # root may write anywhere


def test_a_folder_that_cannot_be_written_to_names_the_way_out(read_only):
    folder, user = read_only

    def work():
        os.setuid(user)
        with pytest.raises(InputError) as caught:
            ready_manifest(folder)
        assert str(caught.value) == (
            f"{folder}: holds no manifest.json and cannot be written to; write one elsewhere (python -m cohort split "
            f"{folder} --output FILE) and give it by --manifest FILE"
        )
        with pytest.raises(InputError, match=r"cannot be written to; give --output FILE, a manifest in another folder"):
            split_cohort(folder)
        with tempfile.TemporaryDirectory() as elsewhere:
            manifest = split_cohort(folder, elsewhere)
            assert load_datalist(manifest, "train")[0]["label"].startswith(str(folder))

    assert in_a_process_of_its_own(work) == 0
