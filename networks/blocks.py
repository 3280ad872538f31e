"""The named parts of X2CT-GAN: dense 2-D encoder, Connections A, B and C, and the 3-D decoders.

Ying et al., "X2CT-GAN: Reconstructing CT from Biplanar X-Rays with Generative Adversarial Networks", CVPR 2019,
section 3; layer by layer as in the authors' shipped "fuse, transposed" configuration, so that their weights fit.

A view works in its own frame (B, C, depth along the ray, rows, columns); the main decoder works in the volume frame
(B, C, D, H, W). Every normalisation is an instance norm without weights and without running statistics: an item is
normalised by itself, in training and in testing alike.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv3d, pad, relu
from torch.utils.checkpoint import checkpoint

from conventions import VIEW_TO_VOLUME, VOLUME_TO_VIEW, View

INSTANCE_NORM_EPS = 1e-5
"""Constant that the norms add to the variance: the default of torch, and the authors'."""


def conv_norm_relu(spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 3) -> Convolution:
    """Convolution that keeps the size, instance norm, ReLU."""
    return Convolution(
        spatial_dims,
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        norm="instance",
        act=("relu", {"inplace": True}),
    )


def upsample_norm_relu(in_channels: int, out_channels: int) -> Convolution:
    """Transposed 3-D convolution that doubles the size, instance norm, ReLU."""
    return Convolution(
        3, in_channels, out_channels, strides=2, is_transposed=True, norm="instance", act=("relu", {"inplace": True})
    )


def norm_relu_conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Instance norm, ReLU, 2-D convolution: the pre-activated order of DenseNet."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2)
    return nn.Sequential(nn.InstanceNorm2d(in_channels), nn.ReLU(inplace=True), conv)


class Stack(nn.Sequential):
    """A sequence of modules that can recompute its inner activations in training instead of keeping them.

    Attributes:
        recompute: whether the backward pass recomputes them, which takes less memory and one more forward pass
            (activation checkpointing, Chen et al. 2016). Nothing in the sequence may be random.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self.recompute = False

    def forward(self, x: Tensor) -> Tensor:
        """Apply one module after the other."""
        if torch.jit.is_scripting():
            for module in self:
                x = module(x)
            return x
        else:
            return recomputed(super().forward, x) if self.recompute else super().forward(x)


def recomputed(block: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """Run a block and keep only its inputs for the backward pass."""
    return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)


class DenseLayer(nn.Module):
    """Bottleneck layer of a dense block: 1x1, then 3x3, the output appended to the input.

    Args:
        in_channels: channels of the input.
        growth_rate: channels that the layer adds.
        bottleneck_factor: the 1x1 convolution has `bottleneck_factor * growth_rate` channels.
    """

    def __init__(self, in_channels: int, growth_rate: int, bottleneck_factor: int) -> None:
        super().__init__()
        bottleneck = bottleneck_factor * growth_rate
        self.reduce = norm_relu_conv(in_channels, bottleneck, kernel_size=1)
        self.grow = norm_relu_conv(bottleneck, growth_rate, kernel_size=3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, rows, columns) -> (B, C + growth_rate, rows, columns)."""
        return torch.cat([x, self.grow(self.reduce(x))], dim=1)


class DenseEncoder(nn.Module):
    """Dense 2-D encoder of one radiograph: a stem and stages that each halve the size.

    A stage is a strided convolution (`down`), a dense block (`dense`) and, except in the last, a 1x1 convolution that
    halves the channels (`transition`).

    Args:
        stem_channels: channels of the 7x7 stem.
        growth_rate: channels that each dense layer adds.
        bottleneck_factor: as in `DenseLayer`.
        dense_layers: number of dense layers in each stage.

    Attributes:
        map_channels: channels of the maps that enter the stages, finest map first.
        code_channels: length of the code.
    """

    def __init__(
        self, stem_channels: int, growth_rate: int, bottleneck_factor: int, dense_layers: Sequence[int]
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem_channels, 7, padding=3, padding_mode="reflect"),
            nn.InstanceNorm2d(stem_channels),
            nn.ReLU(inplace=True),
        )
        self.map_channels: list[int] = []
        self.stages = nn.ModuleList()
        channels = stem_channels
        for i, num_layers in enumerate(dense_layers):
            self.map_channels.append(channels)
            stage = OrderedDict[str, nn.Module](down=norm_relu_conv(channels, channels, kernel_size=3, stride=2))
            stage["dense"] = nn.Sequential(
                *(DenseLayer(channels + j * growth_rate, growth_rate, bottleneck_factor) for j in range(num_layers))
            )
            channels += num_layers * growth_rate
            if i < len(dense_layers) - 1:
                stage["transition"] = norm_relu_conv(channels, channels // 2, kernel_size=1)
                channels //= 2
            self.stages.append(nn.Sequential(stage))
        self.code_channels = channels

    def forward(self, radiograph: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode one view.

        Args:
            radiograph: (B, 1, rows, columns) in [0, 1].

        Returns:
            The 2-D maps that enter the stages, finest first; the code (B, code_channels), the mean of the last map.
        """
        maps: list[Tensor] = []
        x = self.stem(radiograph)
        for stage in self.stages:
            maps.append(x)
            x = stage(x)
        return maps, x.mean(dim=[2, 3])


class ConnectionA(nn.Module):
    """Connection-A: one fully connected layer turns the code of a view into the coarsest 3-D feature.

    Args:
        code_channels: length of the code.
        channels: channels of the 3-D feature.
        size: side of the 3-D feature in voxels.
        dropout: probability of dropping a value before the ReLU, in training.
    """

    def __init__(self, code_channels: int, channels: int, size: int, dropout: float) -> None:
        super().__init__()
        self.shape = [-1, channels, size, size, size]
        self.linear = nn.Linear(code_channels, channels * size**3)
        self.dropout = nn.Dropout(dropout)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, code: Tensor) -> Tensor:
        """(B, code_channels) -> (B, channels, size, size, size), in the view's frame."""
        return self.relu(self.dropout(self.linear(code))).reshape(self.shape)


class LiftMap(nn.Module):
    """3x3x3 convolution, instance norm and ReLU of a map that is repeated along the ray.

    The repeated map is the same in every slice, and so is the result, except for the first and the last slice, which
    border on the zero padding. Three 2-D convolutions compute it all; the norm counts the inner slice S - 2 times.

    Args:
        channels: channels of the map and of the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, padding=1)
        self.eps = INSTANCE_NORM_EPS

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, channels, S, S) -> (B, channels, 3, S, S): the first slice, every inner one, the last."""
        before, here, after = self.conv.weight.unbind(2)
        weight = torch.cat([here + after, before + here + after, before + here])
        bias = self.conv.bias
        assert bias is not None
        slices = conv2d(feature_map, weight, torch.cat([bias, bias, bias]), padding=1)
        slices = slices.unflatten(1, (3, -1)).transpose(1, 2)
        share = torch.ones_like(slices[:1, :1, :, :1, :1]) / feature_map.shape[-1]
        share[:, :, 1] = 1 - 2 / feature_map.shape[-1]
        mean = (slices * share).sum(2, keepdim=True).mean((3, 4), keepdim=True)
        variance = ((slices - mean).square() * share).sum(2, keepdim=True).mean((3, 4), keepdim=True)
        return relu((slices - mean) * torch.rsqrt(variance + self.eps))


class ConnectionB(nn.Module):
    """Connection-B: a skip from 2-D to 3-D; a compressed map is repeated along the ray, then convolved in 3-D.

    Args:
        in_channels: channels of the 2-D map.
        out_channels: channels of the 3-D feature.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.compress = conv_norm_relu(2, in_channels, out_channels, kernel_size=1)
        self.lift = LiftMap(out_channels)

    def forward(self, encoder_map: Tensor) -> Tensor:
        """(B, in_channels, S, S) -> (B, out_channels, 3, S, S) as `LiftMap` has it, in the frame of the view."""
        return self.lift(self.compress(encoder_map))


class MergeLifted(nn.Module):
    """3x3x3 convolution, instance norm and ReLU of a 3-D feature concatenated with a lifted map.

    The contribution of the lifted map is the same in every slice except the first two and the last two, so 2-D
    convolutions compute it, and only the other half is convolved in 3-D.

    Args:
        channels: channels of the feature, of the lifted map, and of the result.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2 * channels, channels, 3, padding=1)
        self.norm = nn.InstanceNorm3d(channels, eps=INSTANCE_NORM_EPS)

    def forward(self, feature: Tensor, lifted: Tensor) -> Tensor:
        """(B, C, S, S, S) and (B, C, 3, S, S) as `LiftMap` has it -> (B, C, S, S, S)."""
        channels = feature.shape[1]
        merged = conv3d(feature, self.conv.weight[:, :channels], self.conv.bias, padding=1)
        before, here, after = self.conv.weight[:, channels:].unbind(2)
        first, inner, last = lifted.unbind(2)
        near, far = before + here, here + after
        f0, f1 = conv2d(first, torch.cat([here, before]), padding=1).chunk(2, 1)
        i0, i1, i2, i3, i4 = conv2d(inner, torch.cat([after, far, near + after, near, before]), padding=1).chunk(5, 1)
        l3, l4 = conv2d(last, torch.cat([after, here]), padding=1).chunk(2, 1)
        middle = i2.unsqueeze(2).expand(-1, -1, feature.shape[2] - 4, -1, -1)
        head, foot = torch.stack([f0 + i0, f1 + i1], 2), torch.stack([i3 + l3, i4 + l4], 2)
        # In place, as the previous values are not needed: allocating a 3-D feature costs more than the arithmetic.
        return self.norm(merged.add_(torch.cat([head, middle, foot], 2))).relu_()


class ConnectionC(nn.Module):
    """Connection-C: the mean of the views' features in the volume frame, which replaces each of them.

    Args:
        views: the views, in the order of the features.
    """

    def __init__(self, views: Sequence[View]) -> None:
        super().__init__()
        self.to_volume = [list(VIEW_TO_VOLUME[view]) for view in views]
        self.to_view = [list(VOLUME_TO_VIEW[view]) for view in views]

    def forward(self, features: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Fuse the views.

        Args:
            features: (B, C, depth, rows, columns) of each view, in its own frame.

        Returns:
            The fused feature (B, C, D, H, W), and the same feature in the frame of each view.
        """
        fused = features[0].permute(self.to_volume[0])
        for feature, to_volume in zip(features[1:], self.to_volume[1:]):  # noqa: B905 (TorchScript knows no `strict`)
            fused = fused + feature.permute(to_volume)
        if len(features) > 1:
            fused = fused.div_(len(features))
        return fused, [fused.permute(to_view) for to_view in self.to_view]


def decoder_level(in_channels: int, channels: int, out_channels: int) -> Stack:
    """Two 3-D convolutions, then up-sampling by two."""
    return Stack(
        conv_norm_relu(3, in_channels, channels),
        conv_norm_relu(3, channels, channels),
        upsample_norm_relu(channels, out_channels),
    )


class HeadConv3d(nn.Conv3d):
    """The last 7x7x7 convolution, to one channel, computed slice by slice.

    A 3-D convolution to one channel is slow on a CPU (ten times slower than this at 64^3). The same sum is computed as
    one 2-D convolution of every slice to seven planes, one for each depth of the kernel, which are added with shifts.
    `normal_init` of MONAI initialises classes whose names contain "Conv".

    Args:
        channels: channels of the feature.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 7, padding=3)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, channels, D, H, W) -> (B, 1, D, H, W)."""
        batch, channels, depth, height, width = feature.shape
        reach = self.weight.shape[2] // 2
        slices = feature.transpose(1, 2).reshape(batch * depth, channels, height, width)
        planes = conv2d(slices, self.weight[0].transpose(0, 1), padding=reach)
        planes = planes.reshape(batch, depth, -1, height, width)
        planes = pad(planes, [0, 0, 0, 0, 0, 0, reach, reach])
        volume = planes[:, :depth, 0]
        for k in range(1, self.weight.shape[2]):
            volume = volume + planes[:, k : k + depth, k]
        bias = self.bias
        assert bias is not None
        return volume.unsqueeze(1) + bias.reshape(1, 1, 1, 1, 1)


class ViewDecoderLevelBase(nn.Module):
    """Base of the two kinds of levels in the decoder of a view.

    Attributes:
        recompute: as in `Stack`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.recompute = False

    def forward(self, feature: Tensor, encoder_map: Tensor) -> Tensor:
        """(B, C', S/2, S/2, S/2) and (B, map_channels, S, S) -> (B, channels, S, S, S), in the frame of the view."""
        if torch.jit.is_scripting():
            return self.compute(feature, encoder_map)
        else:
            compute = self.compute
            return recomputed(compute, feature, encoder_map) if self.recompute else compute(feature, encoder_map)

    def compute(self, feature: Tensor, encoder_map: Tensor) -> Tensor:
        """Compute `forward`."""
        raise NotImplementedError


class ViewDecoderLevel(ViewDecoderLevelBase):
    """One level in the decoder of a view: refine and up-sample, lift the encoder's map with Connection-B, merge both.

    Args:
        upsample: module that brings the incoming feature to the size and the channels of this level.
        map_channels: channels of the encoder's map.
        channels: channels of this level and of its Connection-B.
    """

    def __init__(self, upsample: nn.Module, map_channels: int, channels: int) -> None:
        super().__init__()
        self.upsample = upsample
        self.connection_b = ConnectionB(map_channels, channels)
        self.merge = MergeLifted(channels)

    def compute(self, feature: Tensor, encoder_map: Tensor) -> Tensor:
        """Compute `forward`."""
        return self.merge(self.upsample(feature), self.connection_b(encoder_map))


class ViewDecoderLevelWithoutB(ViewDecoderLevelBase):
    """`ViewDecoderLevel` of the ablation without Connection-B, which does not use the encoder's map.

    Args:
        upsample: as in `ViewDecoderLevel`.
        channels: channels of this level.
    """

    def __init__(self, upsample: nn.Module, channels: int) -> None:
        super().__init__()
        self.upsample = upsample
        self.merge = conv_norm_relu(3, channels, channels)

    def compute(self, feature: Tensor, encoder_map: Tensor) -> Tensor:
        """Compute `forward` without the map."""
        return self.merge(self.upsample(feature))


class ViewDecoder(nn.Module):
    """3-D decoder of one view, in its frame. The generator calls the levels one by one, since it fuses in between.

    Args:
        channels: channels from the coarsest feature (Connection-A) to the finest.
        map_channels: channels of the encoder's maps, finest first.
        connection_b: whether the encoder's maps are used.

    Attributes:
        levels: `ViewDecoderLevel`s, coarsest first.
        tail: layers from the last level to a volume of the view alone (B, 1, S, S, S), before the activation.
    """

    def __init__(self, channels: Sequence[int], map_channels: Sequence[int], connection_b: bool = True) -> None:
        super().__init__()
        upsample: list[nn.Module] = [upsample_norm_relu(channels[0], channels[1])]
        upsample += [decoder_level(c, c, channels[i + 2]) for i, c in enumerate(channels[1:-1])]
        if connection_b:
            levels = zip(upsample, reversed(map_channels), channels[1:], strict=True)
            self.levels = nn.ModuleList(ViewDecoderLevel(*level) for level in levels)
        else:
            plain = zip(upsample, channels[1:], strict=True)
            self.levels = nn.ModuleList(ViewDecoderLevelWithoutB(*level) for level in plain)
        self.tail = Stack(conv_norm_relu(3, channels[-1], channels[-1]), HeadConv3d(channels[-1]))


class MainDecoder(nn.Module):
    """3-D decoder of the fused features, in the volume frame. The generator calls its levels one by one.

    Args:
        channels: channels from the coarsest feature to the finest.
        connection_c: whether the fused feature of the views joins at every level, or at the coarsest only.

    Attributes:
        levels: coarsest first. The first takes the fused feature; every other one takes the fused feature concatenated
            with the output of the previous level, or that output alone.
        tail: layers from both at the finest level to the volume (B, 1, S, S, S), before the activation.
    """

    def __init__(self, channels: Sequence[int], connection_c: bool = True) -> None:
        super().__init__()
        inputs = 2 if connection_c else 1
        self.levels = nn.ModuleList([upsample_norm_relu(channels[0], channels[1])])
        self.levels.extend(decoder_level(inputs * c, c, channels[i + 2]) for i, c in enumerate(channels[1:-1]))
        self.tail = Stack(
            conv_norm_relu(3, inputs * channels[-1], channels[-1]),
            conv_norm_relu(3, channels[-1], channels[-1]),
            HeadConv3d(channels[-1]),
        )
