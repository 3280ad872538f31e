"""A folder of studies in, a folder of series out: each once, whole or with its sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from conventions import InputError
from export import StudyFolder, find_model, predict_study
from tests.film_phantom import films
from tests.readers.radiographs.film_files import IDENTIFYING, stored, write

ROOT = Path(__file__).resolve().parents[2]


def study(folder, **tags):
    folder.mkdir(parents=True)
    for number, (view, pixels) in enumerate(zip(("PA", "LL"), films(0), strict=True)):
        letters = ["L", "F"] if view == "PA" else ["P", "F"]
        said = {"ViewPosition": view, "PatientOrientation": letters, "SOPInstanceUID": f"2.25.{number + 1}"}
        spacing = [430 / 400, 430 / 400]
        write(
            folder / f"{number}.dcm", stored(pixels), **{**IDENTIFYING, **said, "ImagerPixelSpacing": spacing, **tags}
        )
    return folder


class Recorder:
    """A stand-in for the network that writes a file, so that these tests are about the folders."""

    def __init__(self, during=lambda: None):
        self.seen, self.during = [], during

    def __call__(self, source, folder):
        self.seen.append(source.name)
        self.during()
        if not (source / "lateral").exists():
            raise InputError(f"{source}: holds no lateral")
        folder.mkdir(parents=True)
        (folder / "0001.dcm").touch()


def arrive(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)


def test_each_study_is_done_once_even_after_its_series_was_taken_away(tmp_path):
    arrive(tmp_path / "in" / "a", "pa", "lateral")
    arrive(tmp_path / "in" / ".arriving", "pa")
    predict = Recorder()
    assert StudyFolder(tmp_path / "in", tmp_path / "out", predict).once().done == ["a"]
    assert (tmp_path / "out" / "a" / "0001.dcm").exists()
    for file in (tmp_path / "out" / "a").iterdir():
        file.unlink()
    (tmp_path / "out" / "a").rmdir()
    assert StudyFolder(tmp_path / "in", tmp_path / "out", predict).once().done == []
    assert predict.seen == ["a"]


def test_what_failed_lies_aside_and_is_tried_again_when_its_files_change(tmp_path):
    arrive(tmp_path / "in" / "a", "pa")
    arrive(tmp_path / "in" / "b", "pa", "lateral")
    predict = Recorder()
    folder = StudyFolder(tmp_path / "in", tmp_path / "out", predict)
    outcome = folder.once()
    assert outcome.done == ["b"]
    failure = tmp_path / "out" / "failed" / "a.json"
    assert json.loads(failure.read_text())["problem"] == outcome.failed["a"] == f"{tmp_path}/in/a: holds no lateral"
    assert not (tmp_path / "out" / "a").exists()
    folder.once()
    assert predict.seen == ["a", "b"]
    arrive(tmp_path / "in" / "a", "lateral")
    assert folder.once().done == ["a"]
    assert not failure.exists()


def test_an_error_in_one_study_does_not_end_the_others(tmp_path):
    arrive(tmp_path / "in" / "a", "pa", "lateral")
    arrive(tmp_path / "in" / "b", "pa", "lateral")

    def predict(source, folder):
        if source.name == "a":
            raise ZeroDivisionError("Quetzal")
        Recorder()(source, folder)

    outcome = StudyFolder(tmp_path / "in", tmp_path / "out", predict).once()
    assert outcome.done == ["b"]
    assert "failed with ZeroDivisionError" in outcome.failed["a"]
    assert "Quetzal" not in outcome.failed["a"]


def test_a_study_that_is_still_arriving_waits(tmp_path):
    arrive(tmp_path / "in" / "a", "pa", "lateral")
    folder = StudyFolder(tmp_path / "in", tmp_path / "out", Recorder(), settle_s=60)
    assert folder.once().waiting
    for file in (tmp_path / "in" / "a").iterdir():
        os.utime(file, (1e9, 1e9))
    os.utime(tmp_path / "in" / "a", (1e9, 1e9))
    assert folder.once().done == ["a"]


def test_a_study_whose_files_arrive_while_it_fails_is_no_failure(tmp_path):
    arrive(tmp_path / "in" / "a", "pa")
    predict = Recorder(lambda: arrive(tmp_path / "in" / "a", "other"))
    outcome = StudyFolder(tmp_path / "in", tmp_path / "out", predict).once()
    assert outcome.waiting
    assert not outcome.failed
    assert not (tmp_path / "out" / "failed").exists()


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        StudyFolder(tmp_path / "in", tmp_path / "out", Recorder())
    with pytest.raises(InputError, match="lies in the folder of the studies"):
        StudyFolder(tmp_path, tmp_path / "out", Recorder())
    arrive(tmp_path / "in" / "a", "pa")
    folder = StudyFolder(tmp_path / "in", tmp_path / "out", Recorder())
    with folder.locked(), pytest.raises(InputError, match="another process writes here"), folder.locked():
        pass


@pytest.mark.slow
def test_it_predicts_what_inferring_predicts(tmp_path):
    """The command, against `python -m monai.bundle run inferring`, both by the starter weights."""
    source = study(tmp_path / "in" / "erika")
    mixed = study(tmp_path / "in" / "mixed", PatientID="MRN-2")
    write(mixed / "1.dcm", stored(films(0)[1]), **{**IDENTIFYING, "ViewPosition": "LL", "SOPInstanceUID": "2.25.9"})
    words = [sys.executable, "-m", "export", "studies", tmp_path / "in", tmp_path / "out", "--device", "cpu"]
    words += ["--checkpoint", "starter"]
    done = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr[-3000:]
    assert "the starter weights" in done.stderr
    assert "1 studies done, 1 failed" in done.stdout
    assert "different patients" in json.loads((tmp_path / "out" / "failed" / "mixed.json").read_text())["problem"]
    assert not any(value in done.stdout + done.stderr for value in IDENTIFYING.values())
    config = ROOT / "bundle" / "configs" / "inference.json"
    words = [sys.executable, "-m", "monai.bundle", "run", "inferring", "--config_file", config, "--pa", source]
    words += ["--checkpoint", "starter", "--output_dir", tmp_path / "nifti", "--device", "cpu"]
    done = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = np.asarray(nibabel.load(tmp_path / "nifti" / "synthetic_ct.nii.gz").dataobj)  # head to feet, back, left
    slices = [pydicom.dcmread(file) for file in sorted((tmp_path / "out" / "erika").iterdir())]
    found = np.stack([one.pixel_array.astype(int) - 1024 for one in slices])[::-1]
    np.testing.assert_array_equal(found, expected)
    assert {one.StudyInstanceUID for one in slices} == {IDENTIFYING["StudyInstanceUID"]}
    with pytest.raises(InputError, match="exists already"):
        predict_study(source, tmp_path / "out" / "erika", find_model("starter"))
