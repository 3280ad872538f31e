"""X2CT-GAN's generators: chest CT volumes from radiographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
from monai.networks.utils import normal_init
from torch import Tensor, nn

from conventions import VIEW_TO_VOLUME, InputError, View

from .blocks import ConnectionA, ConnectionC, DenseEncoder, MainDecoder, Stack, ViewDecoder, ViewDecoderLevelBase

DOWNSAMPLING = 32
"""Factor by which the encoder reduces the side of a radiograph, in five halvings."""

MIN_IMAGE_SIZE = 64
"""Smallest side of a radiograph in pixels. At 32 the last maps would be one pixel, which instance norms cannot
normalise."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "linear": nn.Identity,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
"""Activations that may follow the last convolution. The authors ship relu (no upper bound); sigmoid is ours."""

WHAT_VIEWS = {1: "the PA radiograph", 2: "the PA and the lateral radiograph"}
"""Names of the radiographs that a generator of one or two views reads, for messages."""

CONNECTIONS_C = ("replace", "mean", "none")
"""Ways of Connection-C at every level. "replace": the mean of the views joins the main decoder and replaces the
features of both views (the authors' "Fuse", shipped). "mean": it joins the main decoder only ("NoFuse"). "none":
neither (their "withoutconnect", in which the volume depends on the coarsest features alone)."""


class VolumeGenerator(nn.Module):
    """A network that makes a CT volume from radiographs, called as `network(image, geometry=None)`.

    Args:
        image_size: side of the radiographs in pixels.
        views: number of radiographs.
    """

    def __init__(self, image_size: int, views: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.views = views


class ViewBranch(nn.Module):
    """The part of a generator that belongs to one view: dense encoder, Connection-A, decoder with its Connections B.

    Args:
        image_size: side of the radiograph in pixels.
        encoder: dense encoder.
        decoder_channels: channels of the decoder, coarsest first.
        dropout: probability of dropout in Connection-A.
        connection_b: whether the maps of the encoder reach the decoder.
    """

    def __init__(
        self,
        image_size: int,
        encoder: DenseEncoder,
        decoder_channels: Sequence[int],
        dropout: float,
        connection_b: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.connection_a = ConnectionA(encoder.code_channels, decoder_channels[0], image_size // DOWNSAMPLING, dropout)
        self.decoder = ViewDecoder(decoder_channels, encoder.map_channels, connection_b)

    def forward(self, radiograph: Tensor) -> tuple[list[Tensor], Tensor]:
        """Encode one view up to the point where its decoder starts.

        Args:
            radiograph: (B, 1, S, S) in [0, 1].

        Returns:
            The 2-D maps of the encoder, finest first, and the coarsest 3-D feature (B, C, S/32, S/32, S/32).
        """
        maps, code = self.encoder(radiograph)
        return maps, self.connection_a(code)


class X2CTGenerator(VolumeGenerator):
    """The biplanar generator of X2CT-GAN: a CT volume from a PA and a lateral radiograph.

    Ying et al., CVPR 2019, section 3, in the authors' shipped configuration (views fused at every level, transposed
    convolutions). With the defaults it has 61,740,467 parameters, and the authors' weights fit (`from_official`).

    The tails of the two view decoders (8 tensors) exist so that the authors' weights fit. They never reach the volume,
    so they are not computed and get no gradient.

    Args:
        image_size: side S of the radiographs and of the volume, in pixels and voxels; a multiple of 32 from 64 up.
        stem_channels: channels of the stem of the encoder.
        growth_rate: channels that each dense layer of the encoder adds.
        bottleneck_factor: channels of the 1x1 convolution of a dense layer, as a multiple of `growth_rate`.
        dense_layers: number of dense layers in each of the five stages of the encoder.
        decoder_channels: channels of the decoders at the sizes S/32, S/16, S/8, S/4, S/2 and S. A Connection-B has the
            channels of the level that it leads to.
        dropout: probability of dropout in Connection-A, in training.
        activation: activation after the last convolution: relu (the authors'), linear, softplus, sigmoid or tanh.
        connection_b: whether the maps of the encoders reach the decoders; False is an ablation of the paper.
        connection_c: one of `CONNECTIONS_C`; "mean" and "none" are ablations of the paper.

    Raises:
        InputError: where the size, the number of stages or levels, or a name is not one of the above.
    """

    def __init__(
        self,
        image_size: int = 128,
        stem_channels: int = 64,
        growth_rate: int = 32,
        bottleneck_factor: int = 4,
        dense_layers: Sequence[int] = (6, 12, 24, 16, 6),
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16, 16),
        dropout: float = 0.5,
        activation: str = "relu",
        connection_b: bool = True,
        connection_c: str = "replace",
    ) -> None:
        super().__init__(image_size, views=2)
        _check_arguments(image_size, dense_layers, decoder_channels, activation)
        if connection_c not in CONNECTIONS_C:
            raise InputError(f"unknown connection_c {connection_c!r}: choose one of {', '.join(CONNECTIONS_C)}")
        self.fuses_levels = connection_c != "none"
        self.replaces_views = connection_c == "replace"

        def branch() -> ViewBranch:
            encoder = DenseEncoder(stem_channels, growth_rate, bottleneck_factor, dense_layers)
            return ViewBranch(image_size, encoder, decoder_channels, dropout, connection_b)

        self.pa = branch()
        self.lateral = branch()
        self.connection_c = ConnectionC((View.PA, View.LATERAL))
        self.main = MainDecoder(decoder_channels, self.fuses_levels)
        self.activation = ACTIVATIONS[activation]()
        self.apply(normal_init)

    def forward(self, image: Tensor, geometry: Optional[Tensor] = None) -> Tensor:  # noqa: UP045 (TorchScript)
        """Reconstruct the volume.

        Args:
            image: radiographs (B, 2, S, S) in [0, 1], bright = dense; view 0 = PA, view 1 = lateral.
            geometry: views (B, 2, 4, 3) in mm, LPS; ignored, as the network only knows the geometry it was trained for.

        Returns:
            Unit volume (B, 1, D, H, W), D = H = W = S. With relu it has no upper bound: values above 1 lie above the
            HU window.

        Raises:
            InputError: where the image has another shape (not checked in TorchScript).
        """
        volume = self.decode(image)[0]  # frees the features of the views before the tail runs
        return self.activation(self.main.tail(volume))

    def forward_with_views(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Reconstruct the volume, and one volume from the decoder of each view, for the authors' auxiliary loss.

        Args:
            image: as in `forward`.

        Returns:
            The volume as in `forward`, and those of the PA and of the lateral view, in the same frame.
        """
        volume, views = self.decode(image, with_views=True)
        of_views: list[Tensor] = []
        for view, branch, to_volume in zip(views, (self.pa, self.lateral), self.connection_c.to_volume, strict=True):
            of_views.append(self.activation(branch.decoder.tail(view)).permute(to_volume))
        return self.activation(self.main.tail(volume)), of_views

    def decode(self, image: Tensor, with_views: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Compute everything but the tails.

        Args:
            image: as in `forward`.
            with_views: whether the decoders of the views run to their end even if none of it reaches the volume.

        Returns:
            The last feature of the main decoder (B, C, S, S, S), and that of each view, in the frame of the view.
        """
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            check_image(image, self.image_size, self.views)
        pa_maps, pa = self.pa(image[:, 0:1])
        lateral_maps, lateral = self.lateral(image[:, 1:2])
        volume, views = self.connection_c([pa, lateral])
        if self.replaces_views:
            pa, lateral = views[0], views[1]
        for pa_level, lateral_level, main_level in zip(  # noqa: B905 (TorchScript knows no `strict`)
            self.pa.decoder.levels, self.lateral.decoder.levels, self.main.levels
        ):
            # The views come first: the feature of the main decoder is large, and not needed before they are done.
            if self.fuses_levels or with_views:
                pa = pa_level(pa, pa_maps.pop())
                lateral = lateral_level(lateral, lateral_maps.pop())
            if self.fuses_levels:
                fused, views = self.connection_c([pa, lateral])
                if self.replaces_views:
                    pa, lateral = views[0], views[1]
                volume = torch.cat([fused, main_level(volume)], dim=1)
            else:
                volume = main_level(volume)
        return volume, [pa, lateral]

    def recompute(self, levels: int) -> None:
        """Recompute the inner activations of the finest decoder levels and of the tails instead of keeping them.

        Args:
            levels: how many of the five levels; 0 keeps everything. `Stack` says what it costs.
        """
        _recompute([self.pa.decoder, self.lateral.decoder, self.main], levels)


class SingleViewGenerator(VolumeGenerator):
    """The single-view generator of X2CT-GAN: a CT volume from a PA radiograph alone.

    Ying et al., CVPR 2019, in the authors' shipped configuration: the branch of one view, run to its own end. With the
    defaults it has 29,384,481 parameters, and the authors' weights fit (`from_official`).

    All arguments and errors as in `X2CTGenerator`.
    """

    def __init__(
        self,
        image_size: int = 128,
        stem_channels: int = 64,
        growth_rate: int = 32,
        bottleneck_factor: int = 4,
        dense_layers: Sequence[int] = (6, 12, 24, 16, 6),
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16, 16),
        dropout: float = 0.5,
        activation: str = "relu",
        connection_b: bool = True,
    ) -> None:
        super().__init__(image_size, views=1)
        _check_arguments(image_size, dense_layers, decoder_channels, activation)
        encoder = DenseEncoder(stem_channels, growth_rate, bottleneck_factor, dense_layers)
        self.pa = ViewBranch(image_size, encoder, decoder_channels, dropout, connection_b)
        self.to_volume = list(VIEW_TO_VOLUME[View.PA])
        self.activation = ACTIVATIONS[activation]()
        self.apply(normal_init)

    def forward(self, image: Tensor, geometry: Optional[Tensor] = None) -> Tensor:  # noqa: UP045 (TorchScript)
        """Reconstruct the volume.

        Args:
            image: PA radiograph (B, 1, S, S) in [0, 1], bright = dense.
            geometry: view (B, 1, 4, 3) in mm, LPS; ignored.

        Returns:
            Unit volume (B, 1, D, H, W), D = H = W = S.

        Raises:
            InputError: where the image has another shape (not checked in TorchScript).
        """
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            check_image(image, self.image_size, self.views)
        maps, feature = self.pa(image)
        for level in self.pa.decoder.levels:
            feature = level(feature, maps.pop())
        return self.activation(self.pa.decoder.tail(feature)).permute(self.to_volume)

    def recompute(self, levels: int) -> None:
        """Recompute inner activations, as in `X2CTGenerator.recompute`."""
        _recompute([self.pa.decoder], levels)


def _recompute(decoders: Sequence[ViewDecoder | MainDecoder], levels: int) -> None:
    for decoder in decoders:
        for number, block in enumerate([decoder.tail, *reversed(decoder.levels)]):
            if isinstance(block, (Stack, ViewDecoderLevelBase)):  # the coarsest main level is one convolution
                block.recompute = 0 < levels >= number


def _check_arguments(
    image_size: int, dense_layers: Sequence[int], decoder_channels: Sequence[int], activation: str
) -> None:
    check_size_and_activation(image_size, activation)
    if len(dense_layers) != 5:
        raise InputError(f"dense_layers is {list(dense_layers)}; the encoder has 5 stages, so give 5 numbers")
    if len(decoder_channels) != 6:
        raise InputError(f"decoder_channels is {list(decoder_channels)}; the decoders have 6 sizes, so give 6 numbers")


def check_size_and_activation(image_size: int, activation: str) -> None:
    """Refuse a side that cannot be halved five times, and an unknown activation."""
    if image_size < MIN_IMAGE_SIZE or image_size % DOWNSAMPLING:
        raise InputError(
            f"image_size is {image_size}; it must be a multiple of {DOWNSAMPLING}, and at least {MIN_IMAGE_SIZE}"
        )
    if activation not in ACTIVATIONS:
        raise InputError(f"unknown activation {activation!r}: choose one of {', '.join(ACTIVATIONS)}")


def check_image(image: Tensor, size: int, views: int) -> None:
    """Refuse radiographs of another shape than (B, views, size, size)."""
    if image.ndim != 4 or tuple(image.shape[1:]) != (views, size, size):
        raise InputError(
            f"the image has shape {tuple(image.shape)}; this network takes (batch, {views}, {size}, {size}): "
            f"{WHAT_VIEWS[views]}"
        )
