"""Training through the server: from true CTs in labels/final to a new model that is served."""

import shutil
import time

import nibabel
import numpy as np
import pytest
import requests

from tests.film_phantom import phantom
from tests.label_app.conftest import write_studies

pytest.importorskip("monailabel", reason="MONAI Label is not installed; make test-label has an environment with it")

from monailabel.client import MONAILabelClient

from tests.label_app.label_server import LabelServer

pytestmark = pytest.mark.slow


@pytest.fixture
def server(archive, tmp_path):
    """A server on a copy of the archive, which the training changes."""
    shutil.copytree(archive, tmp_path / "bundle")
    made = LabelServer(tmp_path / "bundle", tmp_path, write_studies(tmp_path / "studies")).start()
    yield made
    made.stop()


def finished(server):
    for _ in range(1200):
        state = requests.get(f"{server.url}/train/").json()
        if state["status"] in ("DONE", "ERROR"):
            return state
        time.sleep(0.5)
    raise AssertionError(state)


def test_training_ends_in_a_model_that_is_served(server, tmp_path):
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    assert client.train_start("x2ct", {"max_epochs": 1})["status"]
    state = finished(server)
    assert state["status"] == "ERROR"
    assert "no study has a true CT yet; put CTs into labels/final" in state["details"][-1]

    final = server.studies / "labels" / "final"
    file, _ = client.infer("x2ct", "smith", {})
    shutil.copy(file, final / "smith.nii.gz")  # by hand, so that only the training can refuse it
    for seed, name in enumerate(("one_series", "two_series"), 1):
        hu = phantom(seed)[::-1].transpose(2, 1, 0).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(hu, np.diag([-2.5, -2.5, 2.5, 1])), final / f"{name}.nii.gz")
    before = client.infer("x2ct", "smith", {})[1]["model"]["sha256"]
    weights = (server.archive / "models" / "model.pt").read_bytes()
    wrong = [({"max_epochs": "$1"}, "max_epochs is a number"), ({"run_id": "x"}, "there is no parameter")]
    for params, sentence in wrong:
        answer = requests.post(f"{server.url}/train/x2ct", json=params)
        assert answer.status_code == 422
        assert sentence in answer.json()["detail"]
    assert requests.post(f"{server.url}/train/other", json={}).status_code == 404
    client.train_start("x2ct", {"max_epochs": 2, "device": "cpu"})
    assert requests.post(f"{server.url}/train/x2ct", json={}).status_code in (200, 429)
    state = finished(server)
    assert state["status"] == "DONE", state
    after = client.infer("x2ct", "smith", {})[1]
    assert after["model"]["sha256"] != before
    assert after["model"]["initial_model"]["sha256"] == before
    assert after["model"]["data"] == {"train_cases": 1, "validation_cases": 1}  # the predicted one was left out
    assert (server.archive / "models" / "model.pt").read_bytes() == weights
    [trained] = (server.archive / "models" / "trained").iterdir()
    assert {"model.pt", "model.json", "run.json"} <= {path.name for path in trained.iterdir()}
    assert not list(tmp_path.glob("temporary/x2ct-label-*/tmp*"))  # the prepared copies of the CTs
