"""Residual U-Net of images or volumes, and its layers, for `RayLift`: norms by item, fast on a CPU, no checkerboard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import group_norm, linear

NORM_GROUPS = 8
"""Groups of each group norm, which normalises an item by itself: no result depends on the rest of the batch."""


class ResidualUNet(nn.Module):
    """U-Net with one residual block per level on the way down and one on the way up, for images or volumes.

    Maps are halved by averaging and doubled by linear interpolation: neither shifts a map against the others, and
    neither leaves a checkerboard.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the levels, finest first; the first are those of the input.
    """

    def __init__(self, spatial_dims: int, channels: Sequence[int]) -> None:
        super().__init__()
        pool = nn.AvgPool2d if spatial_dims == 2 else nn.AvgPool3d
        steps = list(pairwise(channels))
        self.first = ResidualBlock(spatial_dims, channels[0])
        self.down = nn.ModuleList(
            nn.Sequential(pool(2), pointwise(spatial_dims, fine, coarse), ResidualBlock(spatial_dims, coarse))
            for fine, coarse in steps
        )
        self.enlarge = nn.ModuleList(nn.Sequential(*enlarge(spatial_dims, b, a)) for a, b in reversed(steps))
        self.up = nn.ModuleList(ResidualBlock(spatial_dims, fine) for fine, _ in reversed(steps))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, channels[0], ...) -> the map of each level, finest first."""
        maps = [self.first(x)]
        for down in self.down:
            maps.append(down(maps[-1]))
        x = maps.pop()
        found = [x]
        for enlarge, up in zip(self.enlarge, self.up):  # noqa: B905 (TorchScript knows no `strict`)
            x = up(maps.pop() + enlarge(x))
            found.insert(0, x)
        return found


class ResidualBlock(nn.Module):
    """Group norm, SiLU and convolution, twice, added to the input.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of input and output.
    """

    def __init__(self, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Norm(channels),
            nn.SiLU(),
            conv(spatial_dims, channels),
            Norm(channels),
            nn.SiLU(),
            conv(spatial_dims, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, ...) -> the same shape."""
        return x + self.layers(x)


class Norm(nn.GroupNorm):
    """Group norm with `NORM_GROUPS` groups, or with as many as divide the channels.

    Args:
        channels: channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(NORM_GROUPS, channels), channels)
        self.most_voxels = 32**3

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, ...) -> the same shape."""
        # With channels last, PyTorch's norm is off by 6e-6 at 32^3 and by 2e-4 at 64^3 on a CPU.
        if x.ndim == 5 and x[0, 0].numel() > self.most_voxels:
            x = group_norm(x.contiguous(), self.num_groups, self.weight, self.bias, self.eps)
            # As `memory_format=torch.channels_last_3d` does, which ONNX has no word for.
            return x.permute(0, 2, 3, 4, 1).contiguous().permute(0, 4, 1, 2, 3)
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class Pointwise(nn.Linear):
    """1x1x1 convolution whose result and gradient have channels last in memory.

    That makes the convolutions around it up to four times as fast on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_features, D, H, W) -> (B, out_features, D, H, W)."""
        return linear(x.permute(0, 2, 3, 4, 1), self.weight, self.bias).permute(0, 4, 1, 2, 3)


def pointwise(spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
    """Build a convolution of width 1."""
    return nn.Conv2d(in_channels, out_channels, 1) if spatial_dims == 2 else Pointwise(in_channels, out_channels)


def conv(spatial_dims: int, channels: int) -> nn.Module:
    """Build a convolution of width 3 that keeps the size."""
    layer = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
    return layer(channels, channels, 3, padding=1)


def enlarge(spatial_dims: int, in_channels: int, out_channels: int) -> tuple[nn.Module, nn.Module]:
    """Build a convolution of width 1 and a linear interpolation to twice the size."""
    mode = "bilinear" if spatial_dims == 2 else "trilinear"
    larger = nn.Upsample(scale_factor=2, mode=mode, align_corners=False)
    return pointwise(spatial_dims, in_channels, out_channels), larger


def enlarged(in_channels: int, out_channels: int) -> nn.Module:
    """Build group norm, SiLU, a convolution of width 1 and an interpolation to a volume of twice the size."""
    return nn.Sequential(Norm(in_channels), nn.SiLU(), *enlarge(3, in_channels, out_channels))
