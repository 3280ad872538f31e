import os
import sys

import pytest
import torch

from conventions import InputError
from storage import read_tensors, write_tensors

REFUSAL = "cannot be read ({reason}); give another"
DAMAGED = "it is damaged, or holds more than tensors and numbers"


def test_tensors_come_back(tmp_path):
    content = {"weight": torch.arange(3.0), "epoch": 2, "name": "a"}
    read = read_tensors(write_tensors(tmp_path / "a.pt", content), REFUSAL)
    assert torch.equal(read.pop("weight"), content.pop("weight"))
    assert read == content


def test_safetensors_come_back_and_hold_nothing_else(tmp_path):
    content = {"weight": torch.arange(6.0).reshape(2, 3).T, "half": torch.ones(2, dtype=torch.float16)}
    file = write_tensors(tmp_path / "a.safetensors", content)
    read = read_tensors(file, REFUSAL)
    assert all(torch.equal(value, read.pop(name)) for name, value in content.items())
    assert not read
    assert b"pickle" not in file.read_bytes()
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(InputError, match=rf"a\.safetensors: cannot be read \({DAMAGED}\); give another"):
        read_tensors(file, REFUSAL)


def test_without_safetensors_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(InputError, match="make env"):
        write_tensors(tmp_path / "a.safetensors", {})
    with pytest.raises(InputError, match="make env"):
        read_tensors(tmp_path / "a.safetensors", REFUSAL)
    assert not list(tmp_path.iterdir())


class RunsWhenOpened:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        pytest.param(lambda file: None, "No such file", id="missing"),
        pytest.param(lambda file: file.mkdir(), "Is a directory", id="folder"),
        pytest.param(lambda file: file.touch(), "it is incomplete", id="empty"),
        pytest.param(lambda file: file.write_text("text"), DAMAGED, id="text"),
        pytest.param(lambda file: torch.save(RunsWhenOpened(), file), DAMAGED, id="code"),
        pytest.param(
            lambda file: (torch.save(torch.ones(999), file), os.truncate(file, 2000)),
            "PytorchStreamReader failed reading zip archive: failed finding central directory",
            id="cut-off",
        ),
    ],
)
def test_what_holds_no_tensors_is_refused_in_one_sentence_and_not_run(tmp_path, monkeypatch, leave, reason):
    monkeypatch.chdir(tmp_path)
    leave(tmp_path / "a.pt")
    with pytest.raises(InputError) as caught:
        read_tensors(tmp_path / "a.pt", REFUSAL)
    assert str(caught.value).startswith(f"{tmp_path / 'a.pt'}: cannot be read (")
    assert reason in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert str(caught.value).endswith("); give another")
    assert not (tmp_path / "it_ran").exists()
