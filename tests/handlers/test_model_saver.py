import json
import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from handlers import MeanVolume, ModelSaver
from networks import read_mean_volume
from storage import write_json


def engine_after(epoch, value):
    return SimpleNamespace(state=SimpleNamespace(epoch=epoch, metrics={"psnr": value}, key_metric_name="psnr"))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def saved(folder):
    return torch.load(folder / "model.pt", weights_only=True)["bias"]


def train_on(network):
    with torch.no_grad():
        network.bias.add_(1.0)
    return network.bias.detach().clone()


def test_the_best_is_kept(tmp_path, network):
    saver = ModelSaver(tmp_path, network, {"network": "linear"})
    biases = {}
    for epoch, value in enumerate((20.0, 22.0, 21.0, 22.0), start=1):
        biases[epoch] = train_on(network)
        saver(engine_after(epoch, value))
    assert torch.equal(saved(tmp_path), biases[2])
    assert json.loads((tmp_path / "model.json").read_text()) == {"network": "linear"}
    assert saver.state_dict() == {"best": 22.0, "best_epoch": 2}


def test_a_resumed_run_knows_what_was_best(tmp_path, network):
    first = ModelSaver(tmp_path, network, {})
    first(engine_after(1, 22.0))
    best = saved(tmp_path)
    second = ModelSaver(tmp_path, network, {})
    second.load_state_dict(first.state_dict())
    train_on(network)
    second(engine_after(2, 21.0))
    assert torch.equal(saved(tmp_path), best)
    second(engine_after(3, 23.0))
    assert torch.equal(saved(tmp_path), network.bias)
    assert not list(tmp_path.glob("model_*"))


def test_the_model_of_an_earlier_run_is_kept(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "model.pt")
    write_json(tmp_path / "model.json", {"seed": 0})
    earlier = network.bias.detach().clone()
    os.utime(tmp_path / "model.json", (80000, 80000))  # the record is older than the best epoch
    train_on(network)
    saver = ModelSaver(tmp_path, network, {"seed": 1})
    saver(engine_after(1, 1.0))
    saver(engine_after(2, 2.0))
    [kept] = tmp_path.glob("model_*.pt")
    assert torch.equal(torch.load(kept, weights_only=True)["bias"], earlier)
    assert json.loads(kept.with_suffix(".json").read_text())["seed"] == 0
    assert json.loads((tmp_path / "model.json").read_text())["seed"] == 1


def test_the_mean_volume_is_saved_with_the_model(tmp_path, network):
    mean = MeanVolume()
    saver = ModelSaver(tmp_path, network, {}, mean)
    saver(engine_after(1, 1.0))
    assert not (tmp_path / "model_mean.pt").exists()  # validated before the first epoch was complete
    mean.load_state_dict({"volume": torch.rand(1, 2, 2, 2)})
    saver(engine_after(2, 0.0))
    assert not (tmp_path / "model_mean.pt").exists()
    saver(engine_after(3, 2.0))
    assert torch.equal(read_mean_volume(tmp_path / "model.pt"), mean.volume)
