"""The networks of pix2pix that CycleGAN's authors offer too: a U-Net and a discriminator of single pixels."""

from __future__ import annotations

import torch
from monai.networks.utils import normal_init
from torch import Tensor, nn
from torch.nn import functional

from conventions import InputError

from .resnet import Translator

MAX_CHANNEL_FACTOR = 8
"""Largest number of channels, as a multiple of the first level's; they double from level to level."""


class UnetGenerator(Translator):
    """The U-Net of pix2pix (Isola et al., CVPR 2017) with instance norms and no dropout, as CycleGAN's code makes it.

    With 7 halvings, for 128 pixels, it has 41,819,521 parameters; with 8, for 256 pixels, 54,403,457. The official
    weights fit (`from_official`).

    Args:
        in_channels: channels of the image.
        out_channels: channels of the result.
        channels: channels of the first convolution.
        halvings: number of levels; a side must be a multiple of 2 to the power of it.

    Raises:
        InputError: where there are fewer than two levels.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, channels: int = 64, halvings: int = 7) -> None:
        super().__init__()
        if halvings < 2:
            raise InputError(f"a U-Net needs 2 halvings or more, got {halvings}")
        widths = [channels * min(2**i, MAX_CHANNEL_FACTOR) for i in range(halvings)]
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip([in_channels, *widths], widths, strict=False)
        )
        # Every level but the coarsest reads the level below it and its own map on the way down.
        below = [2 * width for width in widths[:-1]] + widths[-1:]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)
            for a, b in zip(below, [out_channels, *widths], strict=False)
        )
        self.apply(normal_init)

    def forward(self, x: Tensor) -> Tensor:
        """Translate an image.

        Args:
            x: (B, in_channels, rows, columns) in [-1, 1].

        Returns:
            (B, out_channels, rows, columns) in [-1, 1].

        Raises:
            InputError: where a side cannot be halved that often.
        """
        multiple = 2 ** len(self.down)
        if x.shape[-1] % multiple or x.shape[-2] % multiple:
            raise InputError(
                f"an image of {x.shape[-2]} x {x.shape[-1]} pixels cannot be halved {len(self.down)} times; give sides "
                f"that are multiples of {multiple} (--radiograph_size)"
            )
        went_down: list[Tensor] = []
        for level, convolution in enumerate(self.down):
            x = convolution(functional.leaky_relu(x, 0.2) if level else x)
            if 0 < level < len(self.down) - 1:
                x = functional.instance_norm(x)
            went_down.append(x)
        x = went_down.pop()
        for convolution in list(self.up)[:0:-1]:
            x = functional.instance_norm(convolution(functional.relu(x)))
            x = torch.cat([went_down.pop(), x], 1)
        return torch.tanh(self.up[0](functional.relu(x)))


class PixelDiscriminator(nn.Module):
    """A discriminator of single pixels: tones, no texture (Isola et al., CVPR 2017); by default 8,577 parameters.

    Args:
        in_channels: channels of the image.
        channels: channels of the first convolution.
    """

    def __init__(self, in_channels: int = 1, channels: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, channels, 1)
        self.second = nn.Conv2d(channels, 2 * channels, 1)
        self.score = nn.Conv2d(2 * channels, 1, 1)
        self.apply(normal_init)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, rows, columns) -> raw scores (B, 1, rows, columns), without a sigmoid."""
        x = functional.instance_norm(self.second(functional.leaky_relu(self.first(x), 0.2)))
        return self.score(functional.leaky_relu(x, 0.2))
