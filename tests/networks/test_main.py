"""`python -m networks` on files, as a user calls it."""

import hashlib
import json
import re
import subprocess
import sys

import onnxruntime
import pytest
import torch

from conventions import HU_WINDOW, SYNTHETIC_STATEMENT, InputError
from drr import Acquisition, VolumeGrid
from networks import __main__ as command
from networks import build_network, load, make_record, to_official, write_record
from networks.convert import DEAD_BUFFERS
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


def their_checkpoint(path, **arguments):
    """Write a checkpoint as the X2CT authors' code does, and return the network whose weights it holds."""
    torch.manual_seed(0)
    network = build_network(**arguments)
    torch.save({"iters": 5, "epoch": 2, "state_dict": to_official(network.state_dict(), network), "lr": 1e-4}, path)
    return network


@needs_oracle
def test_there_and_back(tmp_path, capsys):
    theirs = official_state_dict("D__basic3d_in2")
    parallel = {f"module.{key}": value for key, value in theirs.items()}
    torch.save({"iters": 5, "epoch": 2, "state_dict": parallel, "lr": 1e-4}, tmp_path / "90_net_D.pth")
    command.convert(str(tmp_path / "90_net_D.pth"), str(tmp_path / "out.pt"))
    assert "patchgan_3d (in_channels 2): 7 entries mapped, 9 dropped" in capsys.readouterr().out
    network, _ = load(tmp_path / "out.pt")
    assert network.spec["arguments"]["in_channels"] == 2
    command.convert(str(tmp_path / "out.pt"), str(tmp_path / "back.pth"), reverse=True)
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert set(back) == {"iters", "epoch", "state_dict", "lr"}
    live = [key for key in theirs if not key.endswith(DEAD_BUFFERS)]
    assert set(back["state_dict"]) == set(live)
    assert all(torch.equal(back["state_dict"][key], theirs[key]) for key in live)


def test_earlier_results_are_kept_together(tmp_path):
    their_checkpoint(tmp_path / "net.pth", name="patchgan_3d", in_channels=2)
    torch.save(torch.zeros(1), tmp_path / "out_mean.pt")  # of an earlier model, of which nothing may be left in place
    for _ in range(2):
        command.convert(str(tmp_path / "net.pth"), str(tmp_path / "out.pt"))
    assert (tmp_path / "out.pt").is_file()
    assert (tmp_path / "out.json").is_file()
    assert not (tmp_path / "out_mean.pt").exists()
    assert len(list(tmp_path.glob("out*.json"))) == 2
    assert len(list(tmp_path.glob("out*.pt"))) == 3


@pytest.mark.parametrize(
    ("name", "acquisition"),
    [
        pytest.param(
            "x2ct_biplanar", Acquisition(grid=VolumeGrid(64, 5.0), detector_shape=64), id="biplanar, in its own voxels"
        ),
        pytest.param(
            "x2ct_single_view",
            Acquisition(grid=VolumeGrid(64, 5.0), detector_shape=64, view_names=("pa",)),
            id="single view",
        ),
        pytest.param(
            "cnn2d",
            Acquisition(grid=VolumeGrid(32, 10.0), detector_shape=64, view_names=("pa",)),
            id="cnn2d, from a radiograph of twice the size",
        ),
    ],
)
def test_a_converted_generator_has_the_authors_acquisition(tmp_path, capsys, name, acquisition):
    ours = their_checkpoint(tmp_path / "90_net_G.pth", name=name, image_size=64)
    command.convert(str(tmp_path / "90_net_G.pth"), str(tmp_path / "model.pt"))
    network, record = load(tmp_path / "model.pt", expect=make_record(ours, acquisition, HU_WINDOW))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), ours.parameters(), strict=True))
    assert record["converted"] == {
        "checkpoint": "90_net_G.pth",
        "authors": "X2CT-GAN",
        "acquisition and hu_window": command.SETTINGS_OF_AUTHORS,
    }
    assert "are those of the authors' data; their checkpoint does not hold them." in capsys.readouterr().out


def test_the_published_size_has_the_paper_s_acquisition():
    with torch.device("meta"):
        assert command.official_acquisition(build_network("x2ct_biplanar")) == Acquisition()
        found = command.official_acquisition(build_network("cnn2d"))
    assert found == Acquisition(view_names=("pa",), detector_shape=256)


@pytest.mark.parametrize(
    ("name", "arguments", "authors"),
    [
        pytest.param("patchgan_3d", {"in_channels": 3}, "X2CT-GAN", id="discriminator"),
        pytest.param("resnet_9blocks", {"channels": 4, "blocks": 1}, "CycleGAN", id="translator"),
        pytest.param("patchgan_70", {"channels": 4}, "CycleGAN", id="discriminator of CycleGAN"),
    ],
)
def test_the_record_of_another_network_says_nothing_that_is_not_known(tmp_path, name, arguments, authors):
    their_checkpoint(tmp_path / "net.pth", name=name, **arguments)
    command.convert(str(tmp_path / "net.pth"), str(tmp_path / "out.pt"))
    network, record = load(tmp_path / "out.pt")
    assert network.spec == build_network(name, **arguments).spec
    assert record.keys() == {"network", "converted", "versions"}
    assert record["converted"] == {"checkpoint": "net.pth", "authors": authors}


def test_the_way_back_takes_the_network_from_the_record(tmp_path):
    """Widths that a state dict alone does not tell."""
    widths = {"growth_rate": 4, "dense_layers": (1,) * 5, "decoder_channels": (8, 8, 4, 4, 2, 2)}
    network = build_network("x2ct_biplanar_no_fuse", image_size=64, stem_channels=4, **widths)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    write_record(tmp_path / "model.pt", make_record(network, Acquisition(detector_shape=64), HU_WINDOW))
    command.convert(str(tmp_path / "model.pt"), str(tmp_path / "back.pth"), reverse=True)
    back = torch.load(tmp_path / "back.pth", weights_only=True)["state_dict"]
    expected = to_official(network.state_dict(), network)
    assert back.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in back.items())
    with pytest.raises(
        InputError, match=r"model\.json: says that this is x2ct_biplanar_no_fuse, not x2ct_biplanar; leave"
    ):
        command.convert(str(tmp_path / "model.pt"), str(tmp_path / "back.pth"), name="x2ct_biplanar", reverse=True)


def test_the_way_back_without_a_record_needs_a_name(tmp_path):
    network = build_network("patchgan_3d", in_channels=2)
    torch.save(network.state_dict(), tmp_path / "ours.pt")
    with pytest.raises(InputError, match=r"ours\.pt: has no record next to it that names its network; give --name"):
        command.convert(str(tmp_path / "ours.pt"), str(tmp_path / "out.pt"), reverse=True)
    command.convert(str(tmp_path / "ours.pt"), str(tmp_path / "out.pt"), name="patchgan_3d", reverse=True)
    assert set(torch.load(tmp_path / "out.pt", weights_only=True)["state_dict"]) == set(
        to_official(network.state_dict(), network)
    )


class Foreign:
    """An object that a pickle may hold in addition to tensors."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(Foreign(), "holds more than tensors and numbers", id="pickled object"),
        pytest.param(
            {"state_dict": {"conv.weight": torch.zeros(1)}}, "no network of the authors of X2CT-GAN", id="other network"
        ),
        pytest.param({"epoch": 3}, "holds no state dict", id="no tensors"),
        pytest.param(
            {"model.0.weight": torch.zeros(64, 3, 4, 4, 4)},
            "entries 6 missing such as model.0.bias",
            id="discriminator",
        ),
        pytest.param(
            {"part1.0.conv.weight": torch.zeros(1), "part9.1.weight": torch.zeros(128, 256, 1, 1)},
            "missing",
            id="cnn2d",
        ),
    ],
)
def test_bad_checkpoints_are_refused_and_nothing_is_written(tmp_path, content, words):
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=rf"bad\.pth: .*{re.escape(words)}"):
        command.convert(str(tmp_path / "bad.pth"), str(tmp_path / "out.pt"))
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]


def test_files_that_are_no_checkpoints(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(InputError, match=r"text\.pth: cannot be read as a checkpoint"):
        command.convert(str(tmp_path / "text.pth"), str(tmp_path / "out.pt"))
    with pytest.raises(InputError, match=r"none\.pth: there is no such file"):
        command.convert(str(tmp_path / "none.pth"), str(tmp_path / "out.pt"))
    with pytest.raises(InputError, match=r"out\.json: is the name of a record"):
        command.convert(str(tmp_path / "text.pth"), str(tmp_path / "out.json"))
    torch.save({"layers.0.conv.weight": torch.zeros(64, 3, 4, 4, 4)}, tmp_path / "ours.pt")
    with pytest.raises(InputError, match=r"ours\.pt: this is not a state dict of PatchDiscriminator3D"):
        command.convert(str(tmp_path / "ours.pt"), str(tmp_path / "out.pt"), name="patchgan_3d", reverse=True)


def test_the_command_ends_in_one_sentence(tmp_path, root):
    call = [sys.executable, "-m", "networks", "convert", str(tmp_path / "a.pth"), str(tmp_path / "b.pt")]
    result = subprocess.run(call, cwd=root, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.strip().endswith("a.pth: there is no such file; give a checkpoint")
    assert "Traceback" not in result.stderr


UNET = {"image_size": 64, "channels": [4, 8]}
ACQUISITION = Acquisition(geometry="chest", detector_shape=64, grid=VolumeGrid(64, 5.0))


@pytest.fixture
def checkpoint(tmp_path):
    """A small model with its record."""
    network = build_network("replicate_unet", **UNET)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    write_record(
        tmp_path / "model.pt",
        make_record(
            network, ACQUISITION, HU_WINDOW, {"patients": ["1641db57a2e648c3"], "film_keys": ["9f86d081884c7d65"]}
        ),
    )
    return tmp_path / "model.pt"


def metadata(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_modelmeta().custom_metadata_map


def test_export_onnx(checkpoint, tmp_path, capsys):
    command.export_onnx(str(checkpoint), str(tmp_path / "model.onnx"))
    printed = capsys.readouterr().out
    size = (tmp_path / "model.onnx").stat().st_size / 1e6
    assert printed.startswith(f"{tmp_path / 'model.onnx'}: replicate_unet, ONNX opset 18, {size:.1f} MB\n")
    assert re.search(r"differs from PyTorch by at most \d\.\de-0\d in values up to \d", printed)
    stored = metadata(tmp_path / "model.onnx")
    assert stored["output"] == SYNTHETIC_STATEMENT
    assert json.loads(stored["acquisition"]) == ACQUISITION.record()
    assert json.loads(stored["hu_window"]) == list(HU_WINDOW)
    assert json.loads(stored["network"])["arguments"] == {**UNET, "views": 2, "activation": "linear"}
    assert stored["checkpoint"] == "model.pt"
    assert not {"patients", "film_keys"} & set(stored)
    content = (tmp_path / "model.onnx").read_bytes()
    assert b"1641db57a2e648c3" not in content
    assert b"9f86d081884c7d65" not in content


def test_export_pt2(checkpoint, tmp_path, capsys):
    command.export_pt2(str(checkpoint), str(tmp_path / "model.pt2"))
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'model.pt2'}: replicate_unet, torch.export, ")
    extra = {"record.json": ""}
    module = torch.export.load(tmp_path / "model.pt2", extra_files=extra).module()  # without our code
    stored = json.loads(extra["record.json"])
    assert stored["output"] == SYNTHETIC_STATEMENT
    assert stored["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert not {"patients", "film_keys"} & stored.keys()
    network, _ = load(checkpoint)
    image = torch.rand(3, 2, network.image_size, network.image_size)
    with torch.no_grad():
        torch.testing.assert_close(module(image), network(image), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match=r"model\.onnx: is not the name of a \.pt2 file"):
        command.export_pt2(str(checkpoint), str(tmp_path / "model.onnx"))


def test_export_onnx_keeps_the_earlier_file(checkpoint, tmp_path):
    for _ in range(2):
        command.export_onnx(str(checkpoint), str(tmp_path / "model.onnx"))
    assert len(list(tmp_path.glob("model*.onnx"))) == 2


def test_export_onnx_of_a_converted_checkpoint(tmp_path):
    their_checkpoint(tmp_path / "net.pth", name="cnn2d", image_size=64)
    command.convert(str(tmp_path / "net.pth"), str(tmp_path / "model.pt"))
    command.export_onnx(str(tmp_path / "model.pt"), str(tmp_path / "model.onnx"))
    assert json.loads(metadata(tmp_path / "model.onnx")["converted"])["checkpoint"] == "net.pth"


def test_export_onnx_refuses(checkpoint, tmp_path):
    def refuses(words, source="model.pt", target="model.onnx"):
        with pytest.raises(InputError, match=words):
            command.export_onnx(str(tmp_path / source), str(tmp_path / target))
        assert not list(tmp_path.glob("**/*.onnx"))

    refuses(r"none\.pt: there is no model yet", source="none.pt")
    refuses(r"model\.pt: is not the name of a \.onnx file", target="model.pt")
    refuses(r"cannot be written to", target="model.pt/model.onnx")
    discriminator = build_network("patchgan_70", channels=4)
    torch.save(discriminator.state_dict(), tmp_path / "d.pt")
    refuses(r"d\.pt: there is no d\.json next to it, which says what .*python -m networks convert", source="d.pt")
    write_record(tmp_path / "d.pt", make_record(discriminator))
    refuses(r"d\.pt: patchgan_70 makes no volume; give a generator", source="d.pt")
    weights = torch.load(checkpoint, weights_only=True)
    next(iter(weights.values())).fill_(float("nan"))
    torch.save(weights, checkpoint)
    refuses(r"model\.pt: 'unet\..* is not finite")
