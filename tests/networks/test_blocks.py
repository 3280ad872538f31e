"""The blocks that compute a convolution in a cheaper way against the plain form."""

import pytest
import torch
from torch.nn.functional import conv3d, instance_norm, relu

from networks.blocks import HeadConv3d, LiftMap, MergeLifted

FLOAT64_TOLERANCE = 1e-12


def plain_lift(block, feature_map):
    volume = feature_map[:, :, None].expand(-1, -1, feature_map.shape[-1], -1, -1)
    return relu(instance_norm(conv3d(volume, block.conv.weight, block.conv.bias, padding=1)))


def plain_merge(block, feature, lifted):
    first, inner, last = lifted.split(1, dim=2)
    volume = torch.cat([first, inner.expand(-1, -1, feature.shape[2] - 2, -1, -1), last], dim=2)
    both = torch.cat([feature, volume], dim=1)
    return relu(instance_norm(conv3d(both, block.conv.weight, block.conv.bias, padding=1)))


def plain_head(block, feature):
    return conv3d(feature, block.weight, block.bias, padding=3)


@pytest.mark.parametrize(
    ("block", "plain", "shapes"),
    [
        pytest.param(LiftMap(3), plain_lift, [(2, 3, 6, 6)], id="lift"),
        pytest.param(LiftMap(3), plain_lift, [(1, 3, 4, 4)], id="lift, smallest size"),
        pytest.param(MergeLifted(3), plain_merge, [(2, 3, 6, 6, 6), (2, 3, 3, 6, 6)], id="merge"),
        pytest.param(MergeLifted(3), plain_merge, [(1, 3, 4, 4, 4), (1, 3, 3, 4, 4)], id="merge, smallest size"),
        pytest.param(HeadConv3d(3), plain_head, [(2, 3, 8, 9, 10)], id="head"),
    ],
)
def test_same_as_the_plain_form(block, plain, shapes):
    torch.manual_seed(0)
    block = block.double()
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    ours = block(*inputs)
    if isinstance(block, LiftMap):
        first, inner, last = ours.split(1, dim=2)
        ours = torch.cat([first, inner.expand(-1, -1, shapes[0][-1] - 2, -1, -1), last], dim=2)
    expected = plain(block, *inputs)
    torch.testing.assert_close(ours, expected, rtol=0, atol=FLOAT64_TOLERANCE)

    weight = torch.randn_like(expected)
    wanted = [*inputs, next(block.parameters())]
    for ours_grad, plain_grad in zip(
        torch.autograd.grad((ours * weight).sum(), wanted),
        torch.autograd.grad((expected * weight).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(ours_grad, plain_grad, rtol=0, atol=1e-10)
