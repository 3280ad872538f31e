"""The ResNet generator of CycleGAN and FastCUT, which turns a film of one style into the same film of another."""

from __future__ import annotations

from collections import OrderedDict

import torch
from monai.networks.utils import normal_init
from torch import Tensor, nn
from torch.nn import functional

from conventions import InputError

NORMS = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
"""Norms after a convolution; instance norms have neither weights nor running statistics."""

INITS = ("normal", "xavier")
"""Initialisations of convolutions: normal with a standard deviation of 0.02 (CycleGAN), or Xavier with a gain of 0.02
(FastCUT)."""

SIDE_MULTIPLE = 4
"""Number of pixels that divides the sides of an image, since it is halved twice."""

SMALLEST_SIDE = 8
"""Smallest side of an image in pixels, since a quarter of it is padded by its own reflection."""


class BlurPool(nn.Module):
    """Halving of the size after a blur of 3 pixels (Zhang, ICML 2019), so that shifted inputs give shifted outputs."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, rows, columns) -> half the rows and columns."""
        weights = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4
        kernel = (weights[:, None] * weights).expand(x.shape[1], 1, 3, 3)
        return functional.conv2d(functional.pad(x, [1, 1, 1, 1], mode="reflect"), kernel, stride=2, groups=x.shape[1])


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norms, added to the input, without a ReLU after the sum.

    Args:
        channels: channels of input and output.
        norm: a key of `NORMS`.
        dropout: probability of dropout between the two.
    """

    def __init__(self, channels: int, norm: str, dropout: float) -> None:
        super().__init__()
        self.first = _layer(_reflecting(channels, channels, 3, norm), norm)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.second = _layer(_reflecting(channels, channels, 3, norm), norm, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, rows, columns) -> the same shape."""
        return x + self.second(self.dropout(self.first(x)))


class Translator(nn.Module):
    """A network that turns images in [-1, 1] into images in [-1, 1]."""

    @torch.jit.unused
    def translate(self, film: Tensor) -> Tensor:
        """Translate film values.

        Args:
            film: (B, in_channels, rows, columns) in [0, 1], bright = dense.

        Returns:
            The same shape, in [0, 1].
        """
        return (self(2 * film - 1) + 1) / 2


class ResnetGenerator(Translator):
    """The generator of CycleGAN (Zhu et al., ICCV 2017; Johnson et al. 2016), layer by layer as in its PyTorch release.

    The official weights fit (`from_official`). With the defaults it has 11,365,633 parameters, with 6 blocks 7,825,153;
    the authors take 6 blocks for 128 pixels and 9 from 256 pixels up. With `antialias` it is the generator of FastCUT
    (Park et al., ECCV 2020), which blurs before it drops pixels.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the result.
        channels: channels of the first convolution; they double twice.
        blocks: number of residual blocks at a quarter of the size.
        norm: a key of `NORMS`; convolutions before a batch norm have no bias.
        dropout: probability of dropout in the residual blocks; 0 in CycleGAN, 0.5 where its authors use it.
        antialias: whether halving blurs and doubling interpolates, instead of convolutions with a stride of 2.
        init: one of `INITS`.

    Raises:
        InputError: where norm, init or a number is none of the above.
    """

    __jit_unused_properties__ = ("feature_channels",)

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        channels: int = 64,
        blocks: int = 9,
        norm: str = "instance",
        dropout: float = 0.0,
        antialias: bool = False,
        init: str = "normal",
    ) -> None:
        super().__init__()
        _check(channels, blocks, norm, init)
        self.stem = _layer(_reflecting(in_channels, channels, 7, norm), norm)
        self.down = nn.Sequential(*(_down(channels * scale, norm, antialias) for scale in (1, 2)))
        self.blocks = nn.Sequential(*(ResidualBlock(channels * 4, norm, dropout) for _ in range(blocks)))
        self.up = nn.Sequential(*(_up(channels * scale, norm, antialias) for scale in (4, 2)))
        self.head = _reflecting(channels, out_channels, 7)
        self.apply(normal_init)
        if init == "xavier":
            self.apply(xavier_init)

    def forward(self, x: Tensor) -> Tensor:
        """Translate an image.

        Args:
            x: (B, in_channels, rows, columns) in [-1, 1]; sides are multiples of 4.

        Returns:
            (B, out_channels, rows, columns) in [-1, 1].

        Raises:
            InputError: where a side is not a multiple of 4, or below 8 (not checked in TorchScript).
        """
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            check_sides(x)
        return torch.tanh(self.head(self.up(self.blocks(self.down(self.stem(x))))))

    @property
    def feature_channels(self) -> list[int]:
        """Channels of each of the `features`."""
        stem = self.stem.get_submodule("conv")
        assert isinstance(stem, nn.Conv2d)
        channels = stem.out_channels
        return [stem.in_channels, 2 * channels, 4 * channels] + [4 * channels] * min(2, len(self.blocks))

    @torch.jit.unused
    def features(self, x: Tensor) -> list[Tensor]:
        """Return the features in which FastCUT compares an image with its translation.

        They are layers 0, 4, 8, 12 and 16 of the encoder.

        Args:
            x: as in `forward`.

        Returns:
            The image with its reflected border; the outputs of the two halving convolutions, before their norms; those
            of the first and the fifth residual block, or of the last one where there are fewer.
        """
        check_sides(x)
        found: list[Tensor] = [functional.pad(x, [3, 3, 3, 3], mode="reflect")]
        x = self.stem(x)
        for half in self.down:
            assert isinstance(half, nn.Sequential)
            convolved = half[0](x)
            found.append(convolved)
            x = half[1:](convolved)
        for number, block in enumerate(list(self.blocks.children())[:5]):
            x = block(x)
            if number in (0, min(5, len(self.blocks)) - 1):
                found.append(x)
        return found


def check_sides(x: Tensor) -> None:
    """Refuse an image that cannot be halved twice and doubled back.

    Raises:
        InputError: where a side is not a multiple of 4, or below 8.
    """
    if any(side % SIDE_MULTIPLE or side < SMALLEST_SIDE for side in x.shape[-2:]):
        raise InputError(
            f"an image of {x.shape[-2]} x {x.shape[-1]} pixels cannot be translated; give sides that are multiples of "
            f"{SIDE_MULTIPLE}, from {SMALLEST_SIDE} up (--radiograph_size)"
        )


def xavier_init(module: nn.Module) -> None:
    """Draw the weights of a convolution or linear layer by Xavier's rule with a gain of 0.02, as FastCUT does."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.xavier_normal_(module.weight, 0.02)


def _check(channels: int, blocks: int, norm: str, init: str) -> None:
    for name, value, known in (("norm", norm, NORMS), ("init", init, INITS)):
        if value not in known:
            raise InputError(f"unknown {name} {value!r}: choose one of {', '.join(known)}")
    if channels < 1 or blocks < 1:
        raise InputError(f"a generator needs channels and blocks, got {channels} and {blocks}; give 1 or more of each")


def _reflecting(in_channels: int, out_channels: int, kernel_size: int, norm: str = "") -> nn.Conv2d:
    """Convolution that keeps the size, with a reflected border."""
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=kernel_size // 2, padding_mode="reflect", bias=norm != "batch"
    )


def _layer(convolution: nn.Module, norm: str, activation: bool = True, *more: nn.Module) -> nn.Sequential:
    parts: dict[str, nn.Module] = {"conv": convolution, "norm": NORMS[norm](int(convolution.out_channels))}  # type: ignore[arg-type]
    if activation:
        parts["activation"] = nn.ReLU(inplace=True)
    return nn.Sequential(OrderedDict(parts | {f"after{i}": module for i, module in enumerate(more)}))


def _down(channels: int, norm: str, antialias: bool) -> nn.Sequential:
    stride, more = (1, [BlurPool()]) if antialias else (2, [])
    convolution = nn.Conv2d(channels, 2 * channels, 3, stride=stride, padding=1, bias=norm != "batch")
    return _layer(convolution, norm, True, *more)


def _up(channels: int, norm: str, antialias: bool) -> nn.Sequential:
    bias = norm != "batch"
    if not antialias:
        doubling = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
        return _layer(doubling, norm)
    layer = _layer(nn.Conv2d(channels, channels // 2, 3, padding=1, bias=bias), norm)
    # Doubling by a blur of 4 pixels, as in FastCUT, is the same as linear interpolation.
    doubled = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(OrderedDict(doubled=doubled, **dict(layer.named_children())))
