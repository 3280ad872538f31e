"""CycleGAN's networks against the official ones."""

import numpy as np
import pytest
import torch
from monai.networks.nets import PatchDiscriminator as MonaiPatchDiscriminator

from conventions import InputError
from networks import (
    PatchDiscriminator2D,
    PixelDiscriminator,
    ResnetGenerator,
    UnetGenerator,
    build_network,
    from_official,
    read_record,
    recognise,
    record_path,
    to_official,
)
from networks import __main__ as command
from networks.resnet import BlurPool
from tests.cyclegan_oracle import CYCLEGAN, image, numbers, parameters

TOLERANCE = 2e-5
GENERATORS = (
    "G9_in_c1",
    "G6_in_c1",
    "G9_in_c3",
    "G6_in_c3",
    "G2_tiny_in_c1",
    "G6_bn_c1",
    "G9_in_c1_dropout",
    "U128_in_c1",
    "U256_in_c1",
)
DISCRIMINATORS = ("D3_in_c1", "D3_in_c3", "D3_bn_c1", "D_n1_in_c1", "D_n5_in_c1", "D_pixel_in_c1")


def build(case):
    args = case["args"]
    if args.get("netD") == "pixel":
        return PixelDiscriminator(args["cin"])
    if args.get("netG", "").startswith("unet"):
        return UnetGenerator(args["cin"], args["cout"], halvings={"128": 7, "256": 8}[args["netG"][-3:]])
    if case["kind"] == "D":
        return PatchDiscriminator2D(args["cin"], num_layers=args.get("n_layers", 3), padding=1, norm=args["norm"])
    blocks = args.get("n_blocks", 9 if "9" in args.get("netG", "") else 6)
    dropout = 0.5 if args.get("dropout") else 0.0
    return ResnetGenerator(args["cin"], args["cout"], args.get("ngf", 64), blocks, args["norm"], dropout)


def official(name, case, network):
    """Return the official state dict by our keys."""
    return from_official(parameters(case["state_dict"], f"{name}/"), network)


@pytest.mark.parametrize("name", GENERATORS + DISCRIMINATORS)
def test_outputs_and_sizes_are_theirs(oracle, name):
    case = numbers("networks")[name]
    network = build(case)
    assert sum(p.numel() for p in network.parameters()) == case["parameters"]
    network.load_state_dict(official(name, case, network))
    stored = np.load(CYCLEGAN / "networks.npz")
    network.eval()
    for run in case["runs"]:
        shape = tuple(int(n) for n in run["tag"].rsplit("/", 1)[1].split("x"))
        with torch.no_grad():
            out = network(image(run["tag"], shape)).numpy()
        difference = np.abs(out - stored[f"{run['tag']}/out"]).max()
        print(f"{run['tag']}: largest difference {difference:.3g}")
        assert difference <= TOLERANCE


@pytest.mark.parametrize("name", GENERATORS + DISCRIMINATORS)
def test_a_checkpoint_is_recognised_and_goes_both_ways(oracle, name):
    case = numbers("networks")[name]
    theirs = parameters(case["state_dict"], f"{name}/")
    found, arguments = recognise(theirs)
    network = build_network(found, **arguments)
    parallel = {f"module.{key}": value for key, value in theirs.items()}
    assert recognise(parallel) == (found, arguments)
    back = to_official(from_official(parallel, network), network)
    assert {key: tuple(value.shape) for key, value in back.items()} == {k: tuple(s) for k, s in case["state_dict"]}
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)


def test_running_statistics_of_2018_and_parallel_prefixes_are_dropped(oracle):
    case = numbers("networks")["G2_tiny_in_c1"]
    theirs = parameters(case["state_dict"], "G2_tiny_in_c1/")
    old = {f"module.{key}": value for key, value in theirs.items()}
    for layer in (2, 5, 8):
        old |= {
            f"module.model.{layer}.running_mean": torch.zeros(8),
            f"module.model.{layer}.running_var": torch.ones(8),
        }
    found, arguments = recognise(old)
    network = build_network(found, **arguments)
    assert found == "resnet_9blocks"
    assert arguments["blocks"] == 2
    converted = from_official(old, network)
    back = to_official(converted, network)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param("G2_tiny_in_c1", "resnet_9blocks", id="generator"),
        pytest.param("D_n1_in_c1", "patchgan_70", id="discriminator"),
    ],
)
@pytest.mark.parametrize("recorded", [pytest.param(True, id="record"), pytest.param(False, id="name")])
def test_the_command_goes_there_and_back(oracle, tmp_path, case, name, recorded):
    """The official code reads and writes a bare state dict."""
    theirs = parameters(numbers("networks")[case]["state_dict"], f"{case}/")
    torch.save(theirs, tmp_path / "latest_net.pth")
    command.convert(str(tmp_path / "latest_net.pth"), str(tmp_path / "ours.pt"))
    assert read_record(tmp_path / "ours.pt")["network"]["name"] == name
    if not recorded:
        record_path(tmp_path / "ours.pt").unlink()
    command.convert(
        str(tmp_path / "ours.pt"), str(tmp_path / "back.pth"), name=None if recorded else name, reverse=True
    )
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.keys() == theirs.keys()
    assert all(torch.equal(back[key], theirs[key]) for key in theirs)


def test_the_discriminator_is_monai_s_too():
    torch.manual_seed(0)
    ours = build_network("patchgan_70")
    theirs = MonaiPatchDiscriminator(
        spatial_dims=2, channels=64, in_channels=1, num_layers_d=3, kernel_size=4, norm="INSTANCE", bias=True, padding=1
    )
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    batch = torch.randn(2, 1, 70, 90)
    torch.testing.assert_close(ours(batch), theirs(batch)[-1], atol=0, rtol=0)


def test_training_and_evaluation_give_the_same(oracle):
    network = ResnetGenerator(channels=4, blocks=1)
    batch = torch.randn(1, 1, 16, 20)
    torch.testing.assert_close(network.train()(batch), network.eval()(batch), atol=0, rtol=0)


def test_weights_start_as_published():
    network = ResnetGenerator(channels=32, blocks=2)
    weights = torch.cat([p.flatten() for n, p in network.state_dict().items() if n.endswith("weight")])
    assert float(weights.std()) == pytest.approx(0.02, rel=0.02)


def test_what_does_not_fit_is_said():
    with pytest.raises(InputError, match="30 x 32 pixels cannot be translated; give sides that are multiples of 4"):
        ResnetGenerator(channels=4, blocks=1)(torch.zeros(1, 1, 30, 32))
    with pytest.raises(InputError, match="unknown norm 'layer'"):
        ResnetGenerator(norm="layer")
    with pytest.raises(InputError, match="give 1 or more of each"):
        ResnetGenerator(blocks=0)


def test_blurred_halving_and_doubling_are_those_of_the_paper():
    """Kernels 1 2 1 with a stride of 2, and 1 3 3 1 transposed with repeated edges (Zhang 2019), written plainly."""
    torch.manual_seed(0)
    x = torch.rand(2, 3, 8, 12)
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    padded = torch.nn.functional.pad(x, [1, 1, 1, 1], mode="reflect")
    expected = sum(row[i] * row[j] * padded[..., i : i + 7 : 2, j : j + 11 : 2] for i in range(3) for j in range(3))
    torch.testing.assert_close(BlurPool()(x), expected)
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    kernel = (kernel[:, None] * kernel).expand(3, 1, 4, 4)
    padded = torch.nn.functional.pad(x, [1, 1, 1, 1], mode="replicate")
    doubled = torch.nn.functional.conv_transpose2d(padded, kernel, stride=2, padding=3, groups=3)
    ours = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours, doubled)


@pytest.mark.parametrize(
    ("antialias", "blocks"),
    [
        pytest.param(True, 6, id="FastCUT"),
        pytest.param(False, 6, id="CycleGAN"),
        pytest.param(True, 1, id="one block"),
        pytest.param(True, 2, id="two blocks"),
    ],
)
def test_features_are_what_lies_on_the_way(antialias, blocks):
    torch.manual_seed(0)
    network = ResnetGenerator(channels=4, blocks=blocks, antialias=antialias, init="xavier")
    x = torch.rand(1, 1, 16, 20)
    found = {}
    names = {"down.0.conv": 1, "down.1.conv": 2, "blocks.0": 3, f"blocks.{min(5, blocks) - 1}": -1}
    modules = dict(network.named_modules())

    def keep(name):
        return lambda _module, _inputs, output: found.update({name: output})

    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    out = network(x)
    for hook in hooks:
        hook.remove()
    assert out.shape == x.shape
    features = network.features(x)
    for name, place in names.items():
        assert torch.equal(features[place], found[name])
    assert [feature.shape[1] for feature in features] == network.feature_channels
    torch.testing.assert_close(torch.jit.script(network)(x), out)
    torch.testing.assert_close(network.translate((x + 1) / 2), (out + 1) / 2)


def test_a_unet_translates_film_values_and_refuses_what_it_cannot_halve():
    network = UnetGenerator(channels=4, halvings=3)
    film = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(network.translate(film), (network(2 * film - 1) + 1) / 2)
    with pytest.raises(InputError, match="28 x 32 pixels cannot be halved 3 times; give sides that are multiples of 8"):
        network(torch.rand(1, 1, 28, 32))
    with pytest.raises(InputError, match="a U-Net needs 2 halvings or more, got 1"):
        UnetGenerator(halvings=1)
