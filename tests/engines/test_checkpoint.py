import hashlib
import json

import pytest
import torch
from torch import nn

from conventions import InputError, write_json
from engines import check_unseen, describe_model, load_model

RECORD = {
    "network": {"name": "linear", "arguments": {"size": 3}},
    "geometry": "x2ct",
    "curve": "water",
    "film": "linear",
    "hu_window": (-1024, 1476),
    "grid": {"shape": (64, 64, 64), "spacing": (5.0, 5.0, 5.0)},
    "seed": 0,
}


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    write_json(tmp_path / "model.json", RECORD)
    return network, tmp_path / "model.pt"


def test_weights_and_record_come_back(model):
    network, path = model
    loaded = load_model(nn.Linear(3, 2), path, RECORD)
    assert torch.equal(loaded.weight, network.weight)
    assert not loaded.training
    assert json.loads(path.with_suffix(".json").read_text())["grid"] == {"shape": [64] * 3, "spacing": [5.0] * 3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"geometry": "chest"}, "was trained with geometry 'x2ct', this run asks for 'chest'"),
        ({"film": "x2ct"}, "film 'linear', this run asks for 'x2ct'"),
        ({"grid": {"shape": (128,) * 3, "spacing": (2.5,) * 3}}, "grid shape"),
        ({"network": {"name": "linear", "arguments": {"size": 4}}}, "network arguments size 3, this run asks for 4"),
    ],
)
def test_another_record_is_refused(model, change, words):
    with pytest.raises(InputError, match=words) as caught:
        load_model(nn.Linear(3, 2), model[1], {**RECORD, **change})
    assert str(model[1]) in str(caught.value)


def test_what_is_no_model_is_refused(model, tmp_path):
    _, path = model
    with pytest.raises(InputError, match=r"no model yet; train one.*convert.*--checkpoint"):
        load_model(nn.Linear(3, 2), tmp_path / "absent.pt", RECORD)
    with pytest.raises(InputError, match=r"'weight' has the shape \(2, 3\), this network needs \(2, 5\)"):
        load_model(nn.Linear(5, 2), path, RECORD)
    with pytest.raises(InputError, match=r"holds 'bias', so it belongs to another network"):
        load_model(nn.Linear(3, 2, bias=False), path, RECORD)
    path.write_bytes(b"garbage")
    with pytest.raises(InputError, match="cannot be read as PyTorch weights"):
        load_model(nn.Linear(3, 2), path, RECORD)
    torch.save({"iters": 5, "state_dict": {}}, path)
    with pytest.raises(InputError, match="not a bare state dict"):
        load_model(nn.Linear(3, 2), path, RECORD)
    torch.save(nn.Linear(3, 2), path)  # a pickled module could run code: weights_only refuses it
    with pytest.raises(InputError, match="cannot be read as PyTorch weights"):
        load_model(nn.Linear(3, 2), path, RECORD)
    torch.save({"weight": torch.full((2, 3), torch.nan), "bias": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="'weight' is not finite"):
        load_model(nn.Linear(3, 2), path, RECORD)
    for text, words in (("{", "is not JSON"), ("[]", "is not the record")):
        path.with_suffix(".json").write_text(text)
        with pytest.raises(InputError, match=words):
            load_model(nn.Linear(3, 2), path, RECORD)


def test_patients_the_model_has_seen_are_refused(model):
    _, path = model
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "patients": ["1", "2"]}))
    load_model(nn.Linear(3, 2), path, RECORD, held_out=["3"])
    with pytest.raises(InputError, match="trained or chosen on 1 of the 2 patients"):
        load_model(nn.Linear(3, 2), path, RECORD, held_out=["2", "3"])


def test_a_result_names_its_model_and_no_patient(model):
    _, path = model
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "patients": ["1"]}))
    described = describe_model(path)
    assert described["checkpoint"] == "model.pt"
    assert described["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert described["geometry"] == "x2ct"
    assert "patients" not in described


def test_without_a_record_it_loads_and_says_so(model, caplog):
    _, path = model
    path.with_suffix(".json").unlink()
    with caplog.at_level("WARNING", logger="x2ct.model"):
        load_model(nn.Linear(3, 2), path, RECORD)
    assert "cannot be checked" in caplog.text


def test_a_translator_is_not_measured_on_what_it_was_trained_on(tmp_path):
    file = tmp_path / "real_to_drr.pt"
    check_unseen(None, ["a"], ["b"])
    check_unseen(file, ["a"], ["b"])  # loading it will say that it is not there
    file.write_bytes(b"")
    file.with_suffix(".json").write_text(json.dumps({"patients": ["a"], "film_keys": ["x", "y"]}))
    check_unseen(file, ["b"], ["z"])
    with pytest.raises(InputError, match="was trained or chosen on 1 of the 2 patients"):
        check_unseen(file, ["a", "b"])
    with pytest.raises(InputError, match="was trained on 1 of the 2 films to be measured on; keep some films back"):
        check_unseen(file, ["b"], ["x", "z"])
    assert not {"patients", "film_keys"} & set(describe_model(file))
