"""`python -m networks` on files, as a user calls it."""

import re
import subprocess
import sys

import pytest
import torch

from conventions import InputError
from networks import __main__ as command
from networks import build_network
from tests.oracle import MISSING, X2CT, official_state_dict

needs_oracle = pytest.mark.skipif(not X2CT.is_dir(), reason=MISSING)


def test_list_prints_what_each_network_costs(capsys):
    command.list_networks()
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in printed.splitlines()[1:]}
    assert lines["x2ct_biplanar"][1] == "61,740,467"
    assert lines["patchgan_3d"][1:3] == ["11,055,169", "81.7"]  # 81.7 G multiply-adds: counted in the authors' code
    assert float(lines["x2ct_biplanar"][2]) < 254.8 - 52  # theirs, without the tails that reach nothing
    assert len(lines) == len(command.NETWORKS.names)


@needs_oracle
def test_there_and_back(tmp_path, capsys):
    theirs = official_state_dict("D__basic3d_in2")
    parallel = {f"module.{key}": value for key, value in theirs.items()}
    torch.save({"iters": 5, "epoch": 2, "state_dict": parallel, "lr": 1e-4}, tmp_path / "90_net_D.pth")
    command.convert(str(tmp_path / "90_net_D.pth"), str(tmp_path / "out.pt"))
    assert "patchgan_3d (in_channels 2): 7 entries mapped, 9 dropped" in capsys.readouterr().out
    ours = torch.load(tmp_path / "out.pt", weights_only=True)
    build_network("patchgan_3d", in_channels=2).load_state_dict(ours)
    command.convert(str(tmp_path / "out.pt"), str(tmp_path / "back.pth"), name="patchgan_3d", reverse=True)
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert set(back) == {"iters", "epoch", "state_dict", "lr"}
    live = [key for key in theirs if "running" not in key and "num_batches" not in key]
    assert set(back["state_dict"]) == set(live)
    assert all(torch.equal(back["state_dict"][key], theirs[key]) for key in live)
    command.convert(str(tmp_path / "90_net_D.pth"), str(tmp_path / "out.pt"))
    assert len(list(tmp_path.glob("out*.pt"))) == 2  # the first result is kept


class Foreign:
    """What a pickle may hold besides tensors."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (Foreign(), "holds more than tensors and numbers"),
        ({"state_dict": {"conv.weight": torch.zeros(1)}}, "no network of the X2CT authors"),
        ({"epoch": 3}, "holds no state dict"),
        ({"model.0.weight": torch.zeros(64, 3, 4, 4, 4)}, "entries 6 missing such as model.0.bias"),
        ({"part1.0.conv.weight": torch.zeros(1), "part9.1.weight": torch.zeros(128, 256, 1, 1)}, "missing"),
    ],
)
def test_bad_checkpoints_are_refused_and_nothing_is_written(tmp_path, content, words):
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=rf"bad\.pth: .*{re.escape(words)}"):
        command.convert(str(tmp_path / "bad.pth"), str(tmp_path / "out.pt"))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


def test_files_that_are_none(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match=r"text\.pth: "):
        command.convert(str(tmp_path / "text.pth"), str(tmp_path / "out.pt"))
    with pytest.raises(InputError, match=r"none\.pth: there is no such file"):
        command.convert(str(tmp_path / "none.pth"), str(tmp_path / "out.pt"))
    torch.save({"layers.0.conv.weight": torch.zeros(64, 3, 4, 4, 4)}, tmp_path / "ours.pt")
    with pytest.raises(InputError, match="needs --name"):
        command.convert(str(tmp_path / "ours.pt"), str(tmp_path / "out.pt"), reverse=True)
    with pytest.raises(InputError, match=r"ours\.pt: this is no state dict of PatchDiscriminator3D"):
        command.convert(str(tmp_path / "ours.pt"), str(tmp_path / "out.pt"), name="patchgan_3d", reverse=True)


def test_the_command_ends_in_one_sentence(tmp_path, root):
    call = [sys.executable, "-m", "networks", "convert", str(tmp_path / "a.pth"), str(tmp_path / "b.pt")]
    result = subprocess.run(call, cwd=root, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.strip().endswith("a.pth: there is no such file; give a checkpoint")
    assert "Traceback" not in result.stderr
