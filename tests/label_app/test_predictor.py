"""The process that predicts: what it returns, and what its death leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest

from conventions import InputError
from export import infer_study
from label_app import Predictor, RequestError
from tests.label_app.conftest import write_studies

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    studies = write_studies(tmp_path_factory.mktemp("films") / "studies")
    return [str(studies / f"smith_{view}.png") for view in ("pa", "lateral")]


@pytest.fixture(scope="module")
def model(archive):
    return str(archive.parent / "model.pt")


@pytest.fixture(scope="module")
def predictor():
    made = Predictor()
    yield made
    made.close()
    with pytest.raises(RequestError, match="the server is ending") as caught:
        made([], "", "", {})
    assert caught.value.status == 503


def process_of(predictor):
    predictor.start()
    return psutil.Process(predictor._processes[0].pid)


def test_it_predicts_what_this_process_predicts(predictor, films, model, tmp_path):
    options = {"consistency": "auto", "device": "cpu"}
    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    there = nibabel.load(predictor(films, str(tmp_path / "there"), model, options))
    here = nibabel.load(infer_study(films, tmp_path / "here", model, page=False, **options))
    np.testing.assert_array_equal(there.dataobj, here.dataobj)
    np.testing.assert_array_equal(there.affine, here.affine)
    assert np.ptp(there.dataobj) > 50


def test_bad_input_keeps_its_sentence_and_the_process_goes_on(predictor, films, model, tmp_path):
    process = process_of(predictor)
    with pytest.raises(InputError, match=r"none\.png: there is no such file"):
        predictor([films[0], str(tmp_path / "none.png")], str(tmp_path), model, {})
    assert process_of(predictor) == process


def test_a_process_that_is_killed_costs_one_study(predictor, films, model, tmp_path):
    process = process_of(predictor)
    threading.Timer(1, process.kill).start()
    process.suspend()
    with pytest.raises(RequestError, match="was ended, as where memory runs out; send the request again") as caught:
        predictor(films, str(tmp_path), model, {})
    assert caught.value.status == 503
    assert Path(predictor(films, str(tmp_path), model, {})).is_file()


def test_a_prediction_that_does_not_end_is_given_up(films, model, tmp_path):
    predictor = Predictor()
    process = process_of(predictor)
    predictor.longest_s = 0.5
    process.suspend()
    with pytest.raises(RequestError, match=r"took more than 0\.5 s"):
        predictor(films, str(tmp_path), model, {})
    process.wait(120)
    predictor.close()


PARENT = """
import sys, time
from label_app import Predictor
if __name__ == "__main__":
    predictor = Predictor()
    predictor.start()
    print(predictor._processes[0].pid, flush=True)
    time.sleep(600)
"""


def test_it_ends_with_its_parent(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "parent.py"], env=environment, stdout=subprocess.PIPE, text=True
    )
    child = psutil.Process(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    child.wait(120)
    time.sleep(0.1)
    assert not psutil.pid_exists(child.pid)
