"""The ablations, the single view, the 2-D baseline and the other discriminators against the authors' numbers."""

import pytest
import torch

from conventions import VOLUME_TO_VIEW, InputError, View
from networks import NETWORKS, build_network, from_official, recognise, to_official
from networks.convert import plain_keys
from tests.oracle import MISSING, X2CT, assert_like_oracle, official_state_dict, random_input

GENERATOR_TOLERANCE = 5e-3
DISCRIMINATOR_TOLERANCE = 1e-4

needs_oracle = pytest.mark.skipif(not X2CT.is_dir(), reason=MISSING)

MULTI = "G__multiview_network_denseUNetFuse_transposed"
SINGLE = "G__singleview_network_denseUNet_transposed"

GENERATORS = {
    # our name: (case, their key list, file of the taps)
    "x2ct_biplanar_no_fuse": ("mv_nofuse_64", "G__multiview_network_denseUNetNoFuse_transposed"),
    "x2ct_biplanar_without_b": ("mv_withoutskip_64", f"{MULTI}_withoutskip"),
    "x2ct_biplanar_without_c": ("mv_withoutconnect_64", f"{MULTI}_withoutconnect"),
    "x2ct_biplanar_without_b_and_c": ("mv_withoutconnectAndskip_64", f"{MULTI}_withoutconnectAndskip"),
    "x2ct_single_view": ("sv_64", SINGLE),
    "x2ct_single_view_without_b": ("sv_withoutskip_64", f"{SINGLE}_withoutskip"),
}

PARAMETERS = {
    "x2ct_biplanar": 61_740_467,
    "x2ct_biplanar_no_fuse": 61_740_467,
    "x2ct_biplanar_without_c": 61_146_035,
    "x2ct_single_view": 29_384_481,
    "cnn2d": 9_068_480,
    "patchgan_3d": 11_055_169,
    "patchgan_3d_multi_scale": 33_165_507,
    "patchgan_2d": 2_762_689,
    "patchgan_2d_multi_scale": 8_294_211,
}
"""Parameters as counted in the authors' code. Ours lack the unused weights of Connection-B."""


BASELINE_TOLERANCE = 1e-5
"""Largest difference of the 2-D baseline, relative to the standard deviation of its output, 1269 with these weights."""

SMALL = {"stem_channels": 4, "growth_rate": 2, "dense_layers": (1,) * 5, "decoder_channels": (8, 6, 4, 4, 2, 2)}


def official(name, keys, **overrides):
    """Return our network with the authors' weights, and these weights."""
    size = overrides.get("image_size", 128)
    theirs = official_state_dict(keys, size if size < 256 else 128)
    network = build_network(name, **overrides).eval()
    network.load_state_dict(from_official(theirs, network), strict=True)
    return network, theirs


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_authors(name):
    with torch.device("meta"):
        network = build_network(name)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


@needs_oracle
@pytest.mark.parametrize("name", GENERATORS)
def test_generator_gives_the_authors_volume(name):
    case, keys = GENERATORS[name]
    network, theirs = official(name, keys, image_size=64)
    views = 1 if "single" in name else 2
    image = torch.cat([random_input(f"xray{i + 1}_64", (1, 1, 64, 64)) for i in range(views)], dim=1)
    with torch.no_grad():
        volume = network(image)
    if views == 1:  # stored in the frame of the view
        volume = volume.permute(VOLUME_TO_VIEW[View.PA])
    assert_like_oracle(case, "out", volume, GENERATOR_TOLERANCE)
    if "fuse" not in name:  # "NoFuse" has the entries of "Fuse"
        assert recognise(theirs) == (name, {"image_size": 64})
    back = to_official(network.state_dict(), network)
    assert all(torch.equal(value, theirs[key]) for key, value in back.items())


@needs_oracle
@pytest.mark.parametrize(("case", "activation"), [("base2d_256", "linear"), ("base2d_relu_256", "relu")])
def test_2d_baseline_gives_the_authors_slices(case, activation):
    network, theirs = official("cnn2d", "G__singleview_2D", image_size=256, activation=activation)
    with torch.no_grad():
        volume = network(random_input("xray1_256", (1, 1, 256, 256)))
    assert volume.shape == (1, 1, 128, 128, 128)
    slices = volume.permute(VOLUME_TO_VIEW[View.PA])
    assert_like_oracle(case, "out", slices, BASELINE_TOLERANCE * float(volume.std()))
    assert recognise(theirs) == ("cnn2d", {"image_size": 256})


@needs_oracle
@pytest.mark.parametrize(
    ("name", "case", "keys", "tag"),
    [
        pytest.param("patchgan_3d_multi_scale", "d_multi3d_in3_64", "D__multi3d_in3", "volume3_64", id="3-D"),
        pytest.param("patchgan_2d_multi_scale", "d_multi2d_in3_64", "D__multi2d_in3", "image3_64", id="2-D"),
    ],
)
def test_multi_scale_discriminator_gives_the_authors_scores(name, case, keys, tag):
    network, theirs = official(name, keys, in_channels=3)
    with torch.no_grad():
        scores = network(random_input(tag, (1, 3, *[64] * (3 if "3d" in name else 2))))
    for i, score in enumerate(scores):
        assert_like_oracle(case, f"out_{i}_0", score, DISCRIMINATOR_TOLERANCE)
    assert recognise(theirs) == (name, {"in_channels": 3})


@needs_oracle
def test_discriminator_features_are_the_authors():
    network, theirs = official("patchgan_3d", "D__basic3d_in3_interm", in_channels=3)
    with torch.no_grad():
        features = network.features(random_input("volume3_64", (1, 3, 64, 64, 64)))
    for i, feature in enumerate(features):
        assert_like_oracle("d_basic3d_in3_interm_64", f"out_{i}", feature, DISCRIMINATOR_TOLERANCE)
    assert recognise(theirs) == ("patchgan_3d", {"in_channels": 3})


NAMES = {
    MULTI: ("x2ct_biplanar", {"image_size": 128}),
    "G__multiview_network_denseUNetNoFuse_transposed": ("x2ct_biplanar", {"image_size": 128}),
    f"{MULTI}_withoutskip": ("x2ct_biplanar_without_b", {"image_size": 128}),
    f"{MULTI}_withoutconnect": ("x2ct_biplanar_without_c", {"image_size": 128}),
    f"{MULTI}_withoutconnectAndskip": ("x2ct_biplanar_without_b_and_c", {"image_size": 128}),
    SINGLE: ("x2ct_single_view", {"image_size": 128}),
    f"{SINGLE}_withoutskip": ("x2ct_single_view_without_b", {"image_size": 128}),
    "G__singleview_2D": ("cnn2d", {"image_size": 256}),
    "D__basic2d_in1": ("patchgan_2d", {"in_channels": 1}),
    "D__basic3d_in1": ("patchgan_3d", {"in_channels": 1}),
    "D__basic3d_in2": ("patchgan_3d", {"in_channels": 2}),
    "D__basic3d_in3": ("patchgan_3d", {"in_channels": 3}),
    "D__basic3d_in3_interm": ("patchgan_3d", {"in_channels": 3}),
    "D__multi2d_in3": ("patchgan_2d_multi_scale", {"in_channels": 3}),
    "D__multi3d_in3": ("patchgan_3d_multi_scale", {"in_channels": 3}),
    "D__multi3d_in3_interm": ("patchgan_3d_multi_scale", {"in_channels": 3}),
}
"""Key list of the oracle -> name and arguments of our network; "NoFuse" has the entries of the shipped network."""


@needs_oracle
def test_every_key_list_is_named_here():
    assert {path.stem.removeprefix("x2ct_official_keys_") for path in (X2CT / "keys").glob("*.json")} == set(NAMES)


@needs_oracle
@pytest.mark.parametrize("keys", NAMES)
def test_checkpoints_are_recognised_and_go_there_and_back(keys):
    name, arguments = NAMES[keys]
    theirs = official_state_dict(keys)
    assert recognise(theirs) == (name, arguments)
    parallel = {f"module.{key}": value for key, value in theirs.items() if "num_batches_tracked" not in key}
    assert recognise(parallel) == (name, arguments)
    with torch.device("meta"):
        network = build_network(name, **arguments)
    ours = from_official(parallel, network)
    assert ours.keys() == network.state_dict().keys()
    back, numbered = to_official(ours, network), plain_keys(theirs)
    assert all(torch.equal(value, numbered[key]) for key, value in back.items())
    parameters = {key for key in numbered if key.endswith(("weight", "bias"))}
    dead = {key for key in parameters if "linker_layer" in key and "without_b" in name}
    assert parameters - dead <= set(back)


def test_a_foreign_checkpoint_is_not_recognised():
    with pytest.raises(InputError, match="belong to no network of the authors of X2CT-GAN or CycleGAN"):
        recognise({"conv.weight": torch.zeros(1)})


def test_without_connection_c_the_maps_do_not_matter():
    torch.manual_seed(0)
    network = build_network("x2ct_biplanar_without_c", image_size=64, activation="linear", **SMALL).eval()
    image = torch.rand(1, 2, 64, 64)
    with torch.no_grad():
        before = network(image)
        for parameter in network.pa.decoder.parameters():
            parameter.add_(1.0)
        assert torch.equal(network(image), before)


@pytest.mark.parametrize("name", ["replicate_unet", "cnn2d", "x2ct_single_view"])
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"image_size": 48}, id="too small"),
        pytest.param({"image_size": 100}, id="no multiple of 32"),
        pytest.param({"activation": "step"}, id="unknown activation"),
    ],
)
def test_bad_arguments(name, arguments):
    with pytest.raises(InputError):
        build_network(name, **arguments)


def test_bad_choices():
    with pytest.raises(InputError, match="replace, mean, none"):
        build_network("x2ct_biplanar", connection_c="sum")
    with pytest.raises(InputError, match="give 1"):
        build_network("replicate_unet", views=3)
    network = build_network("replicate_unet", image_size=64)
    with pytest.raises(InputError, match="the PA and the lateral radiograph"):
        network(torch.zeros(1, 1, 64, 64))


def test_every_network_has_a_line_of_description():
    assert all(len(NETWORKS.components[name].description) > 10 for name in NETWORKS.names)
