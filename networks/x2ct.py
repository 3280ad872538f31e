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
"""The encoder halves the size five times."""

MIN_IMAGE_SIZE = 64
"""At 32 the last maps would hold one pixel, which no instance norm can normalise."""

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "linear": nn.Identity,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
"""What may follow the last convolution. The authors ship relu (no upper bound); sigmoid is ours."""


WHAT_VIEWS = {1: "the PA radiograph", 2: "the PA and the lateral radiograph"}
"""What a generator of so many views is given."""

CONNECTIONS_C = ("replace", "mean", "none")
"""What Connection-C does at every level: the views' mean joins the main decoder and replaces both views' features
(the authors' "Fuse", shipped), or joins the main decoder only ("NoFuse"), or neither (their "withoutconnect", in which
the volume depends on the coarsest features alone)."""


class ViewBranch(nn.Module):
    """All that belongs to one view: dense encoder, Connection-A, and the decoder with its Connections B.

    Args:
        image_size: side of the radiograph in pixels.
        encoder: the dense encoder.
        decoder_channels: channels of the decoder, coarsest first.
        dropout: probability of dropout in Connection-A.
        connection_b: whether the encoder's maps get into 3-D.
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
        """Bring one view to where its decoder starts.

        Args:
            radiograph: (B, 1, S, S) in [0, 1].

        Returns:
            The encoder's 2-D maps, finest first, and the coarsest 3-D feature (B, C, S/32, S/32, S/32).
        """
        maps, code = self.encoder(radiograph)
        return maps, self.connection_a(code)


class X2CTGenerator(nn.Module):
    """Biplanar X2CT-GAN generator: a CT volume from a PA and a lateral radiograph.

    Ying et al., CVPR 2019, section 3, in the authors' shipped configuration (views fused at every level, transposed
    convolutions). At the defaults it has 61,740,467 parameters, and the authors' weights fit (`from_official`).

    The tails of the two views' decoders (8 tensors) hold the place of the authors' weights: they never reach the
    volume, so they are not computed and get no gradient.

    Args:
        image_size: side S of the radiographs and of the volume, in pixels and voxels; a multiple of 32 from 64 up.
        stem_channels: channels of the encoder's stem.
        growth_rate: channels that each dense layer of the encoder adds.
        bottleneck_factor: channels of a dense layer's 1x1 convolution, as a multiple of `growth_rate`.
        dense_layers: dense layers of the encoder's five stages.
        decoder_channels: channels of the decoders at the sizes S/32, S/16, S/8, S/4, S/2 and S. Connections B have
            the channels of the level they lead to.
        dropout: probability of dropout in Connection-A, in training.
        activation: what follows the last convolution: relu (the authors'), linear, softplus, sigmoid or tanh.
        connection_b: whether the encoders' maps get into 3-D; False is the paper's ablation.
        connection_c: one of `CONNECTIONS_C`; "mean" and "none" are the paper's ablations.

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
        super().__init__()
        _check_arguments(image_size, dense_layers, decoder_channels, activation)
        if connection_c not in CONNECTIONS_C:
            raise InputError(f"unknown connection_c {connection_c!r}: choose one of {', '.join(CONNECTIONS_C)}")
        self.image_size = image_size
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
            geometry: views (B, V, 4, 3) in mm, LPS; ignored, the network knows only the geometry it was trained on.

        Returns:
            Unit volume (B, 1, D, H, W), D = H = W = S. With relu it has no upper bound: above 1 lies above the window.

        Raises:
            InputError: where the image has another shape (not checked in TorchScript).
        """
        volume = self.decode(image)[0]  # the views' features are let go before the tail runs
        return self.activation(self.main.tail(volume))

    def forward_with_views(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Reconstruct the volume, and a volume from either view's decoder, for the authors' auxiliary loss.

        Args:
            image: as `forward` takes it.

        Returns:
            The volume as `forward` gives it, and the PA's and the lateral's, in the same frame.
        """
        volume, views = self.decode(image, with_views=True)
        of_views: list[Tensor] = []
        for view, branch, to_volume in zip(views, (self.pa, self.lateral), self.connection_c.to_volume, strict=True):
            of_views.append(self.activation(branch.decoder.tail(view)).permute(to_volume))
        return self.activation(self.main.tail(volume)), of_views

    def decode(self, image: Tensor, with_views: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Everything but the tails.

        Args:
            image: as `forward` takes it.
            with_views: whether the views' decoders run to their end even where nothing of them reaches the volume.

        Returns:
            The main decoder's last feature (B, C, S, S, S), and the last one of either view, in the view's frame.
        """
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            check_image(image, self.image_size, 2)
        pa_maps, pa = self.pa(image[:, 0:1])
        lateral_maps, lateral = self.lateral(image[:, 1:2])
        volume, views = self.connection_c([pa, lateral])
        if self.replaces_views:
            pa, lateral = views[0], views[1]
        for pa_level, lateral_level, main_level in zip(  # noqa: B905 (TorchScript knows no `strict`)
            self.pa.decoder.levels, self.lateral.decoder.levels, self.main.levels
        ):
            # The views first: the main decoder's feature of a level is large, and is not needed until they are done.
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
        """Let the finest levels of the decoders, and the tail, forget their inner activations in training.

        Args:
            levels: how many of the five levels; 0 takes it back. See `Stack` for what it costs.
        """
        _recompute([self.pa.decoder, self.lateral.decoder, self.main], levels)


class SingleViewGenerator(nn.Module):
    """Single-view X2CT-GAN generator: a CT volume from a PA radiograph alone.

    Ying et al., CVPR 2019, in the authors' shipped configuration: one view's branch, run to its own end. At the
    defaults it has 29,384,481 parameters, and the authors' weights fit (`from_official`).

    Args:
        image_size: see `X2CTGenerator`, as all that follow.
        stem_channels: see `X2CTGenerator`.
        growth_rate: see `X2CTGenerator`.
        bottleneck_factor: see `X2CTGenerator`.
        dense_layers: see `X2CTGenerator`.
        decoder_channels: see `X2CTGenerator`.
        dropout: see `X2CTGenerator`.
        activation: see `X2CTGenerator`.
        connection_b: see `X2CTGenerator`.

    Raises:
        InputError: as `X2CTGenerator`.
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
        super().__init__()
        _check_arguments(image_size, dense_layers, decoder_channels, activation)
        self.image_size = image_size
        encoder = DenseEncoder(stem_channels, growth_rate, bottleneck_factor, dense_layers)
        self.pa = ViewBranch(image_size, encoder, decoder_channels, dropout, connection_b)
        self.to_volume = list(VIEW_TO_VOLUME[View.PA])
        self.activation = ACTIVATIONS[activation]()
        self.apply(normal_init)

    def forward(self, image: Tensor, geometry: Optional[Tensor] = None) -> Tensor:  # noqa: UP045 (TorchScript)
        """Reconstruct the volume.

        Args:
            image: PA radiograph (B, 1, S, S) in [0, 1], bright = dense.
            geometry: ignored, see `X2CTGenerator`.

        Returns:
            Unit volume (B, 1, D, H, W), D = H = W = S.

        Raises:
            InputError: where the image has another shape (not checked in TorchScript).
        """
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            check_image(image, self.image_size, 1)
        maps, feature = self.pa(image)
        for level in self.pa.decoder.levels:
            feature = level(feature, maps.pop())
        return self.activation(self.pa.decoder.tail(feature)).permute(self.to_volume)

    def recompute(self, levels: int) -> None:
        """See `X2CTGenerator.recompute`."""
        _recompute([self.pa.decoder], levels)


def _recompute(decoders: Sequence[ViewDecoder | MainDecoder], levels: int) -> None:
    for decoder in decoders:
        for number, block in enumerate([decoder.tail, *reversed(decoder.levels)]):
            if isinstance(block, (Stack, ViewDecoderLevelBase)):  # the main decoder's coarsest level is one convolution
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
    """Refuse a side that the generators cannot halve often enough, and an unknown activation."""
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
