"""Every form of a generator (ONNX, .pt2, TorchScript, torch.compile, autocast) against eager float32."""

import json

import onnx
import onnxruntime
import pytest
import torch
from monai.bundle import ckpt_export

from conventions import InputError
from networks import NETWORKS, build_network, onnx_export
from networks.onnx_export import NormAxisByAxis, write_onnx
from networks.pt2_export import read_pt2, write_pt2
from networks.x2ct import VolumeGenerator

TINY = {"stem_channels": 4, "growth_rate": 4, "dense_layers": (1,) * 5, "decoder_channels": (8, 8, 4, 4, 2, 2)}

RAYLIFT = {"encoder_channels": (8,) * 5, "unet_channels": (8, 8), "head_channels": (8, 4), "lift_channels": (8, 4, 4)}

GENERATORS = {
    "x2ct_biplanar": TINY,
    "x2ct_biplanar_no_fuse": TINY,
    "x2ct_biplanar_without_b": TINY,
    "x2ct_biplanar_without_c": TINY,
    "x2ct_biplanar_without_b_and_c": TINY,
    "x2ct_single_view": TINY,
    "x2ct_single_view_without_b": TINY,
    "cnn2d": {},
    "replicate_unet": {"channels": (4, 8, 8)},
    "raylift": RAYLIFT,
    "raylift_base": RAYLIFT,
}

TOLERANCE = 1e-4
"""Largest difference of TorchScript; like all tolerances here, a share of the largest value of the volume."""

ONNX_TOLERANCE = 5e-4
"""Largest difference of ONNX Runtime. These untrained networks magnify rounding: eager float32 itself differs from
float64 by up to 3e-4. Networks that the demo trained differ by 1e-5."""

AUTOCAST_TOLERANCE = {torch.bfloat16: (0.46, 0.052), torch.float16: (0.088, 0.0091)}
"""Largest and mean difference of autocast, twice the measured ones. Two unrelated volumes differ by 0.15 on average."""

RARER = {
    "x2ct_biplanar_no_fuse",
    "x2ct_biplanar_without_b",
    "x2ct_biplanar_without_c",
    "x2ct_single_view_without_b",
    "raylift_base",
}
"""Networks whose parts the others have too; each takes about twenty seconds of this file."""


def make(name):
    """A tiny generator, two cases of radiographs, and their volumes in eager float32."""
    torch.manual_seed(0)
    # RayLift's norms do without channels last above 32^3, which its heads have from 96^3 on.
    size, options = (96, {}) if name.startswith("raylift") else (64, {"activation": "linear"})
    network = build_network(name, image_size=size, **options, **GENERATORS[name]).eval()
    image = torch.rand(2, network.views, size, size)
    with torch.no_grad():
        return network, image, network(image)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in RARER else []) for name in GENERATORS],
)
def case(request):
    """A generator, its radiographs and their volumes, as in `make`."""
    return make(request.param)


def difference(found, expected):
    """Largest difference, as a share of the largest value."""
    assert found.shape == expected.shape
    return ((found.float() - expected).abs().max() / expected.abs().max()).item()


def test_onnx(case, tmp_path):
    network, image, expected = case
    metadata = {"output": "synthetic", "network": network.spec}
    largest, highest = write_onnx(network, tmp_path / "out.onnx", image.shape[1:], metadata)
    assert 0 < largest <= ONNX_TOLERANCE * highest
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    three = torch.cat([image, image.flip(2)[:1]])  # a batch size that `write_onnx` does not test
    (found,) = session.run(None, {"image": three.numpy()})
    with torch.no_grad():
        assert difference(torch.from_numpy(found), network(three)) <= ONNX_TOLERANCE
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("image", ["batch", *image.shape[1:]])
    assert (made.name, made.shape) == ("pred", ["batch", *expected.shape[1:]])
    stored = session.get_modelmeta().custom_metadata_map
    assert stored["output"] == "synthetic"
    assert json.loads(stored["network"]) == network.spec
    onnx.checker.check_model(tmp_path / "out.onnx")
    operators = {node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node}
    # ONNX Runtime sums its pixels one by one; RayLift's group norms are off by no more than its other layers.
    assert "InstanceNormalization" not in operators or network.spec["name"].startswith("raylift")


def test_pt2(case, tmp_path):
    network, image, expected = case
    largest, _ = write_pt2(network, tmp_path / "out.pt2", image.shape[1:], {"output": "synthetic"})
    run, entries = read_pt2(tmp_path / "out.pt2")
    assert entries == {"output": "synthetic"}
    three = torch.cat([image, image.flip(2)[:1]])  # a batch size that `write_pt2` does not test
    with torch.no_grad():
        assert difference(run(image), expected) <= TOLERANCE
        assert difference(run(three), network(three)) <= TOLERANCE
    assert largest <= TOLERANCE * expected.abs().max()


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_torchscript(case):
    network, image, expected = case
    # Only raylift uses it, and has that of its preset without it.
    geometry = getattr(network, "preset_geometry", torch.rand(1, network.views, 4, 3)).expand(2, -1, -1, -1)
    with torch.no_grad():
        scripted = torch.jit.script(network)
        for module in (scripted, torch.jit.trace(network, (image[:1],), check_trace=False)):
            assert difference(module(image), expected) <= TOLERANCE
            assert difference(module(image[:1]), network(image[:1])) <= TOLERANCE
        assert torch.equal(network(image, geometry=geometry), expected)
        assert difference(scripted(image, geometry=geometry), expected) <= TOLERANCE


def test_every_registered_generator_is_here():
    makers = {name: getattr(NETWORKS[name], "func", NETWORKS[name]) for name in NETWORKS.names}
    assert {name for name, maker in makers.items() if issubclass(maker, VolumeGenerator)} == set(GENERATORS)


@pytest.mark.parametrize(
    "name", ["x2ct_biplanar", "x2ct_biplanar_without_c", "x2ct_single_view_without_b", "cnn2d", "raylift"]
)
def test_compiles_without_a_graph_break(name):
    network, image, expected = make(name)
    torch._dynamo.reset()
    with torch.no_grad():
        assert torch.equal(torch.compile(network, fullgraph=True, backend="eager")(image), expected)


def test_compiled_network_takes_a_geometry():
    network, image, expected = make("replicate_unet")
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    with torch.no_grad():
        for geometry in (None, torch.rand(2, 2, 4, 3)):
            assert torch.equal(compiled(image, geometry), expected)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("name", "use_trace"),
    [
        ("x2ct_biplanar", False),
        ("x2ct_single_view", True),
        ("cnn2d", False),
        ("replicate_unet", True),
        ("raylift", False),
    ],
)
def test_ckpt_export(root, tmp_path, monkeypatch, name, use_trace):
    monkeypatch.chdir(tmp_path)
    network, image, expected = make(name)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    arguments = {"name": name, **network.spec["arguments"]}
    ckpt_export(
        "network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(root / "bundle" / "configs" / "metadata.json"),
        config_file=str(root / "bundle" / "configs" / "inference.json"),
        bundle_root=str(root / "bundle"),
        use_trace=use_trace,
        input_shape=[1, *image.shape[1:]] if use_trace else None,
        **{f"network_def::{key}": value for key, value in arguments.items()},
    )
    exported = torch.jit.load(tmp_path / "model.ts").eval()
    with torch.no_grad():
        assert difference(exported(image), expected) <= TOLERANCE


@pytest.mark.parametrize("dtype", AUTOCAST_TOLERANCE)
def test_autocast(dtype):
    network, image, expected = make("x2ct_biplanar")
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        off = (network(image[:1]).float() - expected[:1]).abs() / expected[:1].abs().max()
    print(f"{dtype}: {off.max():.3g}, mean {off.mean():.3g}")
    largest, mean = AUTOCAST_TOLERANCE[dtype]
    assert off.max() <= largest
    assert off.mean() <= mean


@pytest.mark.parametrize("shape", [(8, 10, 12), (10, 12)])
def test_norm_axis_by_axis_is_the_instance_norm(shape):
    feature = 3 + torch.rand(2, 4, *shape)
    torch.testing.assert_close(NormAxisByAxis(1e-5)(feature), torch.nn.functional.instance_norm(feature))


class ForgetsItsInput(torch.nn.Module):
    """A network whose trace keeps a number of the first image."""

    def forward(self, image):
        return image.unsqueeze(2) - image.mean().item()


class OneCaseOnly(torch.nn.Module):
    """A network whose trace keeps the batch size."""

    def forward(self, image):
        return image.reshape([int(size) for size in image.shape]).unsqueeze(2)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        pytest.param(ForgetsItsInput(), "differs from PyTorch by", id="other result"),
        pytest.param(OneCaseOnly(), "cannot run it", id="fixed batch size"),
    ],
)
def test_a_file_that_computes_something_else_is_not_written(tmp_path, network, words):
    (tmp_path / "out.onnx").write_text("an earlier one")
    with pytest.raises(InputError, match=rf"out\.onnx: not written: ONNX Runtime .*{words}"):
        write_onnx(network, tmp_path / "out.onnx", (1, 8, 8), {})
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an earlier one"]


@pytest.mark.parametrize("package", ["has_onnx", "has_onnxruntime"])
def test_without_onnx_one_sentence_says_what_to_install(tmp_path, monkeypatch, package):
    monkeypatch.setattr(onnx_export, package, False)
    with pytest.raises(InputError, match="make env"):
        write_onnx(torch.nn.Identity(), tmp_path / "out.onnx", (1, 8, 8), {})
    assert not list(tmp_path.iterdir())
