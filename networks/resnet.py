"""The ResNet generator of CycleGAN and FastCUT: a film of one style to the same film of another."""

from __future__ import annotations

from collections import OrderedDict

import torch
from monai.networks.utils import normal_init
from torch import Tensor, nn
from torch.nn import functional

from conventions import InputError

NORMS = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
"""What follows a convolution: instance norms have neither weights nor running statistics."""

INITS = ("normal", "xavier")
"""Of convolutions: normal with a standard deviation of 0.02 (CycleGAN), or Xavier's with a gain of 0.02 (FastCUT)."""

SIDE_MULTIPLE = 4
SMALLEST_SIDE = 8
"""Of an image in pixels, since it is halved twice and then padded by its own reflection."""


class BlurPool(nn.Module):
    """Halve the size after a blur of 3 pixels (Zhang, ICML 2019), so that shifted inputs give shifted outputs."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, rows, columns) -> half the rows and columns."""
        weights = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype, device=x.device) / 4
        kernel = (weights[:, None] * weights).expand(x.shape[1], 1, 3, 3)
        return functional.conv2d(functional.pad(x, [1, 1, 1, 1], mode="reflect"), kernel, stride=2, groups=x.shape[1])


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norms, added to what came in; no ReLU after the sum.

    Args:
        channels: of input and output.
        norm: a key of `NORMS`.
        dropout: share of values dropped between the two.
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
    """A generator of images in [-1, 1] from such images."""

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
    """CycleGAN's generator (Zhu et al., ICCV 2017; Johnson et al. 2016), layer by layer as in the PyTorch release.

    The official weights fit (`from_official`). At the defaults it has 11,365,633 parameters, with 6 blocks 7,825,153;
    the authors take 6 blocks for 128 pixels, 9 from 256 up. With `antialias` it is FastCUT's (Park et al., ECCV 2020),
    which blurs before it leaves out pixels.

    Args:
        in_channels: of the image.
        out_channels: of the result.
        channels: of the first convolution; they double twice.
        blocks: residual blocks at a quarter of the size.
        norm: a key of `NORMS`; convolutions before a batch norm have no bias.
        dropout: in the residual blocks; the authors' 0 for CycleGAN, 0.5 where they have it.
        antialias: blur while halving and interpolate while doubling, in place of steps of 2 within the convolutions.
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
        """Translate.

        Args:
            x: (B, in_channels, rows, columns) in [-1, 1], of sides that are multiples of 4.

        Returns:
            (B, out_channels, rows, columns) in [-1, 1].

        Raises:
            InputError: where a side is no multiple of 4 or below 8 (not checked in TorchScript).
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
        """What FastCUT compares between an image and its translation: layers 0, 4, 8, 12 and 16 of the encoder.

        Args:
            x: see `forward`.

        Returns:
            The image with its reflected border; what the two halving convolutions give, before their norms; the first
            and the fifth residual block, or the last one where there are fewer.
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
    """Refuse an image that cannot be halved twice and put together again.

    Raises:
        InputError: where a side is no multiple of 4 or below 8.
    """
    if any(side % SIDE_MULTIPLE or side < SMALLEST_SIDE for side in x.shape[-2:]):
        raise InputError(
            f"an image of {x.shape[-2]} x {x.shape[-1]} pixels cannot be translated; give sides that are multiples of "
            f"{SIDE_MULTIPLE}, from {SMALLEST_SIDE} up (--radiograph_size)"
        )


def xavier_init(module: nn.Module) -> None:
    """Draw a convolution's or linear layer's weights by Xavier's rule with a gain of 0.02, as FastCUT does."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.xavier_normal_(module.weight, 0.02)


def _check(channels: int, blocks: int, norm: str, init: str) -> None:
    for name, value, known in (("norm", norm, NORMS), ("init", init, INITS)):
        if value not in known:
            raise InputError(f"unknown {name} {value!r}: choose one of {', '.join(known)}")
    if channels < 1 or blocks < 1:
        raise InputError(f"a generator needs channels and blocks, got {channels} and {blocks}; give 1 or more of each")


def _reflecting(in_channels: int, out_channels: int, kernel_size: int, norm: str = "") -> nn.Conv2d:
    """A convolution that keeps the size, its border reflected."""
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
    # Doubling by a blur of 4 pixels, as FastCUT has it, is the same as linear interpolation.
    doubled = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(OrderedDict(doubled=doubled, **dict(layer.named_children())))
