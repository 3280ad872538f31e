import pytest
import torch

from networks import PatchDiscriminator3D


@pytest.mark.parametrize(("in_channels", "parameters"), [(3, 11_055_169), (2, 11_051_073), (1, 11_046_977)])
def test_parameter_count_is_the_authors(in_channels, parameters):
    with torch.device("meta"):
        network = PatchDiscriminator3D(in_channels)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(("size", "patches"), [(64, 11), (128, 19)])
def test_number_of_patches(size, patches):
    with torch.device("meta"):
        scores = PatchDiscriminator3D()(torch.empty(1, 3, size, size, size))
    assert scores.shape == (1, 1, patches, patches, patches)


def test_channels_stop_doubling_at_eight_times():
    network = PatchDiscriminator3D(channels=4, num_layers=5)
    assert [layer.conv.out_channels for layer in network.layers] == [4, 8, 16, 32, 32, 32, 1]


def test_script_agrees_with_eager_and_every_parameter_learns():
    torch.manual_seed(0)
    network = PatchDiscriminator3D(channels=4)
    x = torch.rand(2, 3, 32, 32, 32)
    scores = network(x)
    torch.testing.assert_close(torch.jit.script(network)(x), scores)
    scores.mean().backward()
    assert all(p.grad is not None for p in network.parameters())
