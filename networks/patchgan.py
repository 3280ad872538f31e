"""PatchGAN discriminators of X2CT-GAN, in 3-D and in 2-D, at one scale and at several, and the one of CycleGAN."""

from __future__ import annotations

from monai.networks.blocks import Convolution
from monai.networks.utils import normal_init
from torch import Tensor, nn

KERNEL_SIZE = 4
PADDING = 2
"""Padding of every convolution including the last one, which MONAI's `PatchDiscriminator` always pads by 1."""

MAX_CHANNEL_FACTOR = 8
"""Largest number of channels, as a multiple of the first layer's; they double from layer to layer."""


class PatchDiscriminator(nn.Module):
    """PatchGAN: one raw score for each of many overlapping patches; base of the 2-D and the 3-D discriminator.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        channels: channels of the first convolution; they double from layer to layer, up to 8 times.
        num_layers: number of convolutions between the first and the last one; all but the last of them halve the
            size, as the first one does.
        padding: padding of every convolution: 2 in X2CT-GAN, 1 in CycleGAN.
        norm: "instance", or "batch", before which convolutions have no bias.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int,
        num_layers: int,
        padding: int = PADDING,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        widths = [channels * min(2**i, MAX_CHANNEL_FACTOR) for i in range(num_layers + 1)]
        layers = [_layer(spatial_dims, in_channels, widths[0], 2, None, padding)]
        for i in range(num_layers):
            stride = 1 if i == num_layers - 1 else 2
            layers.append(_layer(spatial_dims, widths[i], widths[i + 1], stride, norm, padding))
        score = Convolution(spatial_dims, widths[-1], 1, kernel_size=KERNEL_SIZE, padding=padding, conv_only=True)
        self.layers = nn.Sequential(*layers, score)
        self.apply(normal_init)

    def forward(self, x: Tensor) -> Tensor:
        """Score the patches.

        Args:
            x: (B, in_channels, *size), in [0, 1].

        Returns:
            Raw scores (B, 1, *patches), without a sigmoid: 11 patches per side for 64 voxels, 19 for 128.
        """
        return self.layers(x)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the output of every layer, the scores last, for feature matching.

        Args:
            x: (B, in_channels, *size), in [0, 1].

        Returns:
            `num_layers + 2` tensors, the first of half the size.
        """
        found: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found


class PatchDiscriminator3D(PatchDiscriminator):
    """3-D PatchGAN that judges a volume together with the radiographs it was made from.

    Ying et al., CVPR 2019, section 3.3, layer by layer as in the authors' code ("basic3d"), so that their weights fit
    (`from_official`). The channels are the PA and the lateral radiograph, each repeated along its ray axis
    (`conventions.expand_views`), then the volume. With the defaults it has 11,055,169 parameters.

    Args:
        in_channels: 3 for two radiographs and the volume, 2 for one radiograph and the volume, 1 for the volume alone.
        channels: as in `PatchDiscriminator`.
        num_layers: as in `PatchDiscriminator`.
    """

    def __init__(self, in_channels: int = 3, channels: int = 64, num_layers: int = 3) -> None:
        super().__init__(3, in_channels, channels, num_layers)


class PatchDiscriminator2D(PatchDiscriminator):
    """2-D PatchGAN that judges images, or projections of a volume ("basic2d" in the authors' code, not in the paper).

    With the defaults it has 2,762,689 parameters. With `padding=1` it is the discriminator of CycleGAN, which judges
    patches of 70 x 70 pixels (Zhu et al. 2017); MONAI's `PatchDiscriminator` computes the same, without the limit on
    channels.

    Args:
        in_channels: 3 for the projections along D, H and W together, 1 for one image.
        channels: as in `PatchDiscriminator`, like all other arguments.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: int = 64,
        num_layers: int = 3,
        padding: int = PADDING,
        norm: str = "instance",
    ) -> None:
        super().__init__(2, in_channels, channels, num_layers, padding, norm)


class MultiScaleDiscriminator(nn.Module):
    """Several PatchGANs, each at half the size of the one before ("multi3d", "multi2d" in the authors' code).

    Args:
        spatial_dims: 2 or 3.
        in_channels: as in `PatchDiscriminator`.
        channels: as in `PatchDiscriminator`.
        num_layers: as in `PatchDiscriminator`.
        num_scales: number of PatchGANs.
    """

    def __init__(
        self, spatial_dims: int = 3, in_channels: int = 3, channels: int = 64, num_layers: int = 3, num_scales: int = 3
    ) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchDiscriminator(spatial_dims, in_channels, channels, num_layers) for _ in range(num_scales)
        )
        pool = nn.AvgPool3d if spatial_dims == 3 else nn.AvgPool2d
        self.halve = pool(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Score the patches at every scale.

        Args:
            x: (B, in_channels, *size), in [0, 1].

        Returns:
            Raw scores (B, 1, *patches) at each scale, the full size first.
        """
        scores: list[Tensor] = []
        for number, scale in enumerate(self.scales):
            if number > 0:
                x = self.halve(x)
            scores.append(scale(x))
        return scores

    def features(self, x: Tensor) -> list[list[Tensor]]:
        """Return the output of every layer at every scale.

        Args:
            x: (B, in_channels, *size), in [0, 1].

        Returns:
            `PatchDiscriminator.features` at each scale, the full size first.
        """
        found: list[list[Tensor]] = []
        for number, scale in enumerate(self.scales):
            assert isinstance(scale, PatchDiscriminator)
            if number > 0:
                x = self.halve(x)
            found.append(scale.features(x))
        return found


def _layer(
    spatial_dims: int, in_channels: int, out_channels: int, stride: int, norm: str | None, padding: int
) -> Convolution:
    # The authors drop the bias before the 3-D norms, where it has no effect, and keep it before the 2-D ones.
    return Convolution(
        spatial_dims,
        in_channels,
        out_channels,
        strides=stride,
        kernel_size=KERNEL_SIZE,
        padding=padding,
        bias=norm is None or (spatial_dims == 2 and norm != "batch"),
        norm=norm,
        act=("leakyrelu", {"negative_slope": 0.2, "inplace": True}),
    )
