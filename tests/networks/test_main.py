"""`python -m networks` on files, as a user calls it."""

import json
import re
import subprocess
import sys

import onnxruntime
import pytest
import torch

from conventions import HU_WINDOW, InputError
from export import SYNTHETIC_STATEMENT
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


UNET = {"image_size": 64, "channels": [4, 8]}


@pytest.fixture
def checkpoint(tmp_path):
    """A small model; its record is written by the tests that want one."""
    torch.save(build_network("replicate_unet", **UNET).state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def write_record(checkpoint, **entries):
    network = {"name": "replicate_unet", "arguments": UNET}
    checkpoint.with_suffix(".json").write_text(json.dumps({"network": network, **entries}))


def metadata(path):

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map


def test_export_onnx_of_a_recorded_model(checkpoint, tmp_path, capsys):
    write_record(checkpoint, geometry="chest", hu_window=HU_WINDOW, patients=["1641db57a2e648c3"])
    command.export_onnx(str(checkpoint), str(tmp_path / "model.onnx"))
    printed = capsys.readouterr().out
    size = (tmp_path / "model.onnx").stat().st_size / 1e6
    assert printed.startswith(f"{tmp_path / 'model.onnx'}: replicate_unet, opset 18, {size:.1f} MB\n")
    assert re.search(r"differs from PyTorch by at most \d\.\de-0\d in values up to \d", printed)
    stored = metadata(tmp_path / "model.onnx")
    assert stored["output"] == SYNTHETIC_STATEMENT
    assert stored["geometry"] == "chest"
    assert json.loads(stored["hu_window"]) == list(HU_WINDOW)
    assert json.loads(stored["network"])["arguments"] == {**UNET, "views": 2, "activation": "linear"}
    assert "patients" not in stored
    assert b"1641db57a2e648c3" not in (tmp_path / "model.onnx").read_bytes()


def test_export_onnx_of_a_named_model_keeps_the_earlier_file(checkpoint, tmp_path):
    for _ in range(2):
        command.export_onnx(str(checkpoint), str(tmp_path / "model.onnx"), name="replicate_unet", **UNET)
    assert json.loads(metadata(tmp_path / "model.onnx")["network"])["name"] == "replicate_unet"
    assert len(list(tmp_path.glob("model*.onnx"))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, r"model\.pt: has no model\.json beside it .* give --name"),
        ({"name": "unet"}, r"model\.pt: unet .* unknown network 'unet': choose one of x2ct_biplanar"),
        ({"name": "replicate_unet", "width": 3}, r"has no argument width; it takes image_size"),
        ({"name": "replicate_unet", "image_size": "64x64"}, r"replicate_unet cannot be made with these arguments"),
        ({"name": "patchgan_3d"}, r"model\.pt: patchgan_3d makes no volume; give a generator"),
        (
            {"name": "x2ct_biplanar", "image_size": 64},
            r"model\.pt: \d+ entries do not fit x2ct_biplanar .*none",
        ),
        (
            {"name": "replicate_unet", **UNET, "channels": [4, 6]},
            r"entries do not fit .* \(shape \(8,\) instead of \(6,\)\)",
        ),
    ],
)
def test_export_onnx_refuses_what_does_not_fit(checkpoint, tmp_path, arguments, words):
    with pytest.raises(InputError, match=words):
        command.export_onnx(str(checkpoint), str(tmp_path / "model.onnx"), **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_export_onnx_refuses_bad_files(checkpoint, tmp_path):
    def refuses(words, source="model.pt", target="model.onnx", **arguments):
        with pytest.raises(InputError, match=words):
            command.export_onnx(str(tmp_path / source), str(tmp_path / target), **arguments)
        assert not list(tmp_path.glob("**/*.onnx"))

    refuses(r"none\.pt: there is no such file", source="none.pt")
    refuses(r"model\.pt: is no name for an ONNX file", target="model.pt")
    refuses(r"cannot be written to", target="model.pt/model.onnx")
    for text in ("{", "[]", "{}", '{"network": "x2ct_biplanar"}', '{"network": {"name": "cnn2d"}}'):
        checkpoint.with_suffix(".json").write_text(text)
        refuses(r"model\.json: is not the record of a model")
    write_record(checkpoint)
    refuses(r"model\.json: says what network this is; leave out --name", name="replicate_unet")
    weights = torch.load(checkpoint, weights_only=True)
    next(iter(weights.values())).fill_(float("nan"))
    torch.save(weights, checkpoint)
    refuses(r"model\.pt: unet\..* is not finite")
