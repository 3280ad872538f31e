"""3-D PatchGAN discriminator of X2CT-GAN."""

from __future__ import annotations

from monai.networks.blocks import Convolution
from monai.networks.utils import normal_init
from torch import Tensor, nn

KERNEL_SIZE = 4
PADDING = 2
"""Of every convolution, the last one too, where MONAI's `PatchDiscriminator` always pads by 1: hence our own class."""

MAX_CHANNEL_FACTOR = 8
"""Channels double from layer to layer, up to this multiple of the first."""


class PatchDiscriminator3D(nn.Module):
    """3-D PatchGAN: judges overlapping patches of a volume, one raw score each.

    Ying et al., CVPR 2019, section 3.3, layer by layer as in the authors' code ("basic3d"), so that their weights fit
    (`from_official`). It judges a volume in the company of the radiographs it was made from: the channels are the PA
    and the lateral radiograph, each repeated along its ray axis (`conventions.expand_views`), then the volume.
    At the defaults it has 11,055,169 parameters.

    Args:
        in_channels: channels to judge: 3 for two radiographs and the volume, 2 for one radiograph and the volume,
            1 for the volume alone.
        channels: channels of the first convolution; they double from layer to layer, up to 8 times.
        num_layers: number of convolutions between the first and the last one; all but the last of them halve the
            size, as the first one does.
    """

    def __init__(self, in_channels: int = 3, channels: int = 64, num_layers: int = 3) -> None:
        super().__init__()
        widths = [channels * min(2**i, MAX_CHANNEL_FACTOR) for i in range(num_layers + 1)]
        layers = [_layer(in_channels, widths[0], stride=2, norm=False)]
        for i in range(num_layers):
            layers.append(_layer(widths[i], widths[i + 1], stride=1 if i == num_layers - 1 else 2, norm=True))
        score = Convolution(3, widths[-1], 1, kernel_size=KERNEL_SIZE, padding=PADDING, conv_only=True)
        self.layers = nn.Sequential(*layers, score)
        self.apply(normal_init)

    def forward(self, x: Tensor) -> Tensor:
        """Score the patches.

        Args:
            x: (B, in_channels, D, H, W), in [0, 1].

        Returns:
            Raw scores (B, 1, d, h, w), without a sigmoid: 11^3 patches for 64^3 voxels, 19^3 for 128^3.
        """
        return self.layers(x)


def _layer(in_channels: int, out_channels: int, stride: int, norm: bool) -> Convolution:
    return Convolution(
        3,
        in_channels,
        out_channels,
        strides=stride,
        kernel_size=KERNEL_SIZE,
        padding=PADDING,
        bias=not norm,
        norm="instance" if norm else None,
        act=("leakyrelu", {"negative_slope": 0.2, "inplace": True}),
    )
