"""The feature space in which FastCUT compares patches: two layers on the features of the generator's encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .resnet import xavier_init


class PatchProjector(nn.Module):
    """A projection of the features at some positions of an image, layer by layer, to unit vectors (Park et al. 2020).

    Args:
        channels: channels of the features of each layer, as in `ResnetGenerator.feature_channels`.
        width: channels of the hidden layer and of the result; 256 in the paper.
    """

    def __init__(self, channels: Sequence[int], width: int = 256) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(count, width), nn.ReLU(), nn.Linear(width, width)) for count in channels
        )
        self.apply(xavier_init)
        for parameter in self.parameters():
            if parameter.ndim == 1:
                nn.init.zeros_(parameter)

    def forward(self, features: list[Tensor], places: list[Tensor]) -> list[Tensor]:
        """Project the features at some positions.

        Args:
            features: (B, channels, rows, columns) of each layer.
            places: indices of pixels, counted row by row, for each layer.

        Returns:
            (B, places, width) of each layer, vectors of length 1.
        """
        found: list[Tensor] = []
        for layer, feature, at in zip(self.layers, features, places, strict=True):
            patches = feature.flatten(2)[..., at].transpose(1, 2)
            found.append(torch.nn.functional.normalize(layer(patches), dim=-1))
        return found
