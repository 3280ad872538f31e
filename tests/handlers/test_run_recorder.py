import hashlib
import json
import subprocess
import sys

import torch
from ignite.engine import Engine
from torch import nn

from drr import Acquisition
from handlers import ModelSaver, RunRecorder, describe_run, run_settings, training_records
from networks import build_network
from tests.processes import in_processes


def test_a_run_is_described(tmp_path, root, monkeypatch):
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"cases": []}')
    monkeypatch.setattr("sys.argv", ["train", "--seed", "3"])
    record = describe_run(tmp_path, seed=3)
    assert record == describe_run(manifest, seed=3)
    assert (record["command"], record["seed"]) == (["train", "--seed", "3"], 3)
    assert record["manifest_sha256"] == hashlib.sha256(b'{"cases": []}').hexdigest()
    assert record["versions"]["python"] == sys.version.split()[0]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
    assert record["commit"] == commit.stdout.strip()
    assert describe_run(tmp_path / "absent", seed=3)["manifest_sha256"] is None


def train(folder, epochs=2, resume_after=0):
    network = nn.Linear(2, 1)
    saver = ModelSaver(folder, network, {"network": "a line"})
    saver.load_state_dict({"best": 21.5, "best_epoch": 1})
    engine = Engine(lambda _engine, _batch: None)
    if resume_after:
        engine.load_state_dict({"epoch": resume_after, "epoch_length": 1, "max_epochs": epochs})
    RunRecorder(folder, network, {"seed": 3}, saver).attach(engine)
    engine.run([0], max_epochs=epochs)
    return network


def test_a_run_leaves_its_record_and_its_last_weights(tmp_path):
    network = train(tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["seed"], record["epochs"], record["max_epochs"]) == (3, 2, 2)
    assert record["validation"] == {"best": 21.5, "best_epoch": 1}
    assert record["hours"] >= 0
    assert record["cpu_hours"] >= 0
    assert record["steps"] == 2
    final = torch.load(tmp_path / "model_final.pt", weights_only=True)
    assert torch.equal(final["weight"], network.weight)
    assert json.loads((tmp_path / "model_final.json").read_text()) == {"network": "a line"}


def test_a_new_run_keeps_the_record_of_an_earlier_one_and_a_resumed_one_replaces_its_own(tmp_path):
    train(tmp_path)
    earlier = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**earlier, "hours": 5.0, "cpu_hours": 9.0}))
    train(tmp_path, epochs=3, resume_after=2)
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["epochs"], record["steps"]) == (3, 3)
    assert 5 <= record["hours"] < 5.1  # goes on from those before
    assert 9 <= record["cpu_hours"] < 9.1
    assert not list(tmp_path.glob("run_*"))
    train(tmp_path)
    assert len(list(tmp_path.glob("run_*.json"))) == len(list(tmp_path.glob("model_final_*.pt"))) == 1
    assert len(list(tmp_path.glob("model_final_*.json"))) == 1


def test_the_first_of_several_processes_writes(tmp_path):
    in_processes(lambda rank: train(tmp_path / str(rank)))
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_the_settings_of_a_run_are_what_a_resumed_run_must_agree_on(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    network = build_network("cnn2d", image_size=64)
    acquisition = Acquisition(geometry="chest", view_names=("pa",), detector_shape=64)
    data = {"data": {"train_cases": 3, "validation_cases": 1}, "patients": ["0123"]}
    records = training_records(network, acquisition, (-1024, 1476), data, tmp_path, seed=3, batch_size=2)
    assert records.settings == {
        "network": network.spec,
        "acquisition": acquisition.record(),
        "hu_window": [-1024, 1476],
        "seed": 3,
        "batch_size": 2,
        "world_size": 1,
        "manifest": hashlib.sha256(b"{}").hexdigest(),
        "initial_model": None,
    }
    assert records.model["patients"] == ["0123"]
    assert records.run["seed"] == records.model["seed"] == 3
    assert records.run["initial_model"] is None

    def check(_rank):
        assert run_settings(records.model, records.run, batch_size=2) == {**records.settings, "world_size": 2}

    in_processes(check)
