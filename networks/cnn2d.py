"""The 2-D baseline of the X2CT-GAN paper: a 2-D network whose channels are the slices of the volume."""

from __future__ import annotations

from itertools import pairwise
from typing import Optional

import torch
from monai.networks.blocks import Convolution
from monai.networks.utils import normal_init
from torch import Tensor, nn

from conventions import VIEW_TO_VOLUME, View

from .x2ct import ACTIVATIONS, VolumeGenerator, check_image, check_size_and_activation

WIDTH = 256
"""Number of channels from the end of the first part on."""


def conv_norm(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> Convolution:
    """2-D convolution without bias, batch norm, ReLU."""
    return Convolution(
        2, in_channels, out_channels, strides=stride, kernel_size=kernel_size, norm="batch", act="relu", bias=False
    )


class ResidualBlock(nn.Module):
    """1x1, 3x3 and 3x3 convolutions and a skip, each with batch norm and ReLU; then a ReLU of their sum.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; the skip is a convolution if the two differ.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = in_channels // 2 if in_channels == out_channels else in_channels
        self.path = nn.Sequential(
            conv_norm(in_channels, inner, 1), conv_norm(inner, inner, 3), conv_norm(inner, out_channels, 3)
        )
        self.skip = nn.Identity() if in_channels == out_channels else conv_norm(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, rows, columns) -> (B, out_channels, rows, columns)."""
        return torch.relu(self.skip(x) + self.path(x))


def _up() -> nn.ConvTranspose2d:
    """Transposed convolution that doubles the size, channel by channel."""
    return nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1, groups=WIDTH, bias=False)


class CNN2D(VolumeGenerator):
    """The 2DCNN baseline: a CT volume from one radiograph of twice its size, with the slices as channels.

    The comparison of the paper, after Henzler et al. 2018. With the defaults it has 9,068,480 parameters, and the
    authors' weights ("singleview_2D") fit (`from_official`). Unlike the other generators it has batch norms: call
    `eval` before using it.

    Args:
        image_size: side of the radiograph in pixels, a multiple of 32 from 64 up; the volume has half of it.
        activation: activation after the last convolution: relu as in the authors' factory, linear as in their class.

    Raises:
        InputError: where the size or the activation is not one of the above.
    """

    def __init__(self, image_size: int = 256, activation: str = "relu") -> None:
        super().__init__(image_size, views=1)
        check_size_and_activation(image_size, activation)

        def blocks(count: int) -> list[nn.Module]:
            return [ResidualBlock(WIDTH, WIDTH) for _ in range(count)]

        widths = (64, 128, 128, 128, WIDTH)
        first = [ResidualBlock(a, b) for a, b in pairwise(widths)]
        self.down = nn.ModuleList([nn.Sequential(conv_norm(1, widths[0], 7, stride=2), *first)])
        self.down.extend(nn.Sequential(nn.MaxPool2d(2), *blocks(3)) for _ in range(3))
        self.bottom = nn.Sequential(nn.MaxPool2d(2), *blocks(5), _up())
        self.up = nn.ModuleList(nn.Sequential(*blocks(1), _up()) for _ in range(3))
        self.slices = nn.Sequential(conv_norm(WIDTH, WIDTH, 1), nn.Conv2d(WIDTH, image_size // 2, 1, bias=False))
        self.activation = ACTIVATIONS[activation]()
        self.to_volume = list(VIEW_TO_VOLUME[View.PA])
        self.apply(normal_init)

    def forward(self, image: Tensor, geometry: Optional[Tensor] = None) -> Tensor:  # noqa: UP045 (TorchScript)
        """Reconstruct the volume.

        Args:
            image: PA radiograph (B, 1, S, S) in [0, 1], bright = dense.
            geometry: view (B, 1, 4, 3) in mm, LPS; ignored.

        Returns:
            Unit volume (B, 1, D, H, W), D = H = W = S / 2.

        Raises:
            InputError: where the image has another shape (not checked in TorchScript).
        """
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            check_image(image, self.image_size, self.views)
        features: list[Tensor] = []
        x = image
        for part in self.down:
            x = part(x)
            features.append(x)
        x = self.bottom(x)
        for part in self.up:
            x = part(x + features.pop())
        slices = self.activation(self.slices(x + features.pop()))
        return slices.unsqueeze(1).permute(self.to_volume)
