import copy
import inspect
import json

import pytest
import torch

from conventions import InputError
from networks import NETWORKS, PatchDiscriminator3D, X2CTGenerator, build_network


def test_known_networks():
    assert NETWORKS["x2ct_biplanar"] is X2CTGenerator
    assert NETWORKS["patchgan_3d"] is PatchDiscriminator3D
    assert list(NETWORKS.names) == [
        "x2ct_biplanar",
        "x2ct_biplanar_no_fuse",
        "x2ct_biplanar_without_b",
        "x2ct_biplanar_without_c",
        "x2ct_biplanar_without_b_and_c",
        "x2ct_single_view",
        "x2ct_single_view_without_b",
        "cnn2d",
        "replicate_unet",
        "raylift",
        "raylift_base",
        "patchgan_3d",
        "patchgan_3d_multi_scale",
        "patchgan_2d",
        "patchgan_2d_multi_scale",
        "resnet_9blocks",
        "resnet_6blocks",
        "patchgan_70",
        "unet_128",
        "unet_256",
        "pixelgan",
    ]


@pytest.mark.parametrize("name", NETWORKS.names)
def test_spec_holds_every_argument_and_makes_the_network_again(name):
    with torch.device("meta"):
        network = build_network(name)
        spec = json.loads(json.dumps(network.spec))
        again = build_network(spec["name"], **spec["arguments"])
    assert spec["arguments"].keys() == inspect.signature(NETWORKS[name]).parameters.keys()
    assert again.spec == network.spec == spec
    assert [p.shape for p in again.parameters()] == [p.shape for p in network.parameters()]


def test_overrides_reach_the_network_and_its_spec():
    network = build_network("patchgan_3d", channels=4, in_channels=1)
    assert network.layers[0].conv.weight.shape[:2] == (4, 1)
    assert network.spec == {"name": "patchgan_3d", "arguments": {"in_channels": 1, "channels": 4, "num_layers": 3}}


def test_spec_survives_copying_and_does_not_hinder_torchscript():
    network = build_network("patchgan_3d", channels=2)
    assert copy.deepcopy(network).spec == network.spec
    x = torch.rand(1, 3, 32, 32, 32)
    torch.testing.assert_close(torch.jit.script(network)(x), network(x))


def test_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown network 'x2ct': choose .* x2ct_biplanar, .*, unet_256, pixelgan$"):
        build_network("x2ct")


def test_unknown_argument_is_answered_with_the_known_ones():
    message = r"network patchgan_3d has no argument width; it takes in_channels, channels, num_layers$"
    with pytest.raises(InputError, match=message):
        build_network("patchgan_3d", width=3)
