"""The generator of CycleGAN: one image to one image of another style."""

from __future__ import annotations

from monai.networks.utils import normal_init
from torch import Tensor, nn

from conventions import InputError

BATCH_NORM = "batch"
NORMS = {"instance": nn.InstanceNorm2d, BATCH_NORM: nn.BatchNorm2d}

DIVISOR = 4
"""Two halvings and two doublings give back the size of images whose sides are multiples of this."""


class ResnetGenerator(nn.Module):
    """Two halvings, residual blocks, two doublings (Zhu et al., ICCV 2017, appendix 7.2; after Johnson et al. 2016).

    Layer by layer as in the authors' PyTorch code, so that their checkpoints fit: reflected borders but in the
    halvings, instance norm without weights, no activation after a block's sum, tanh at the end. At the defaults it has
    11,365,633 parameters, with 6 blocks 7,825,153.

    Args:
        in_channels: of the images.
        out_channels: of the images given back.
        channels: after the first convolution.
        blocks: 9 for 256 pixels and more, 6 for 128.
        norm: "instance", or "batch", before which convolutions have no bias.
        dropout: share of features dropped in each block; CycleGAN drops none.

    Raises:
        InputError: where a number is not positive or the norm is unknown.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        channels: int = 64,
        blocks: int = 9,
        norm: str = "instance",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise InputError(f"unknown norm {norm!r}: choose one of {', '.join(NORMS)}")
        if min(in_channels, out_channels, channels, blocks) < 1:
            raise InputError(f"a generator has at least 1 channel and 1 block, got {channels} and {blocks}")
        biased = norm != BATCH_NORM
        normed = NORMS[norm]
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(in_channels, channels, 7, bias=biased)]
        layers += [normed(channels), nn.ReLU(inplace=True)]
        for width in (channels, 2 * channels):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=biased)]
            layers += [normed(2 * width), nn.ReLU(inplace=True)]
        layers += [ResnetBlock(4 * channels, norm, dropout) for _ in range(blocks)]
        for width in (4 * channels, 2 * channels):
            up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1, bias=biased)
            layers += [up, normed(width // 2), nn.ReLU(inplace=True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(channels, out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.apply(normal_init)

    def forward(self, image: Tensor) -> Tensor:
        """Translate images.

        Args:
            image: (B, in_channels, rows, columns) in [-1, 1]; sides are multiples of 4.

        Returns:
            (B, out_channels, rows, columns) in [-1, 1].

        Raises:
            InputError: where a side is not a multiple of 4.
        """
        if image.shape[-1] % DIVISOR or image.shape[-2] % DIVISOR:
            raise InputError(
                f"an image of {image.shape[-2]} x {image.shape[-1]} pixels cannot be translated, since sides must be "
                f"multiples of {DIVISOR}; choose such an --image_size"
            )
        return self.model(image)


class ResnetBlock(nn.Module):
    """Two convolutions whose result is added to what they were given.

    Args:
        channels: of the features.
        norm: as of `ResnetGenerator`, as the next.
        dropout: share of features dropped between the two.
    """

    def __init__(self, channels: int, norm: str, dropout: float) -> None:
        super().__init__()
        biased = norm != BATCH_NORM
        layers: list[nn.Module] = []
        for last in (False, True):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=biased), NORMS[norm](channels)]
            if not last:
                layers += [nn.ReLU(inplace=True), *[nn.Dropout(dropout)] * (dropout > 0)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, rows, columns), and the same back."""
        return features + self.conv_block(features)
