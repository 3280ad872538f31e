"""What FastCUT compares patches in: two layers on what the generator's encoder makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .resnet import xavier_init


class PatchProjector(nn.Module):
    """Project the features of some places of an image, layer by layer, to unit vectors (Park et al., ECCV 2020).

    Args:
        channels: of each layer's features, see `ResnetGenerator.feature_channels`.
        width: of the hidden layer and of the result; 256 in the paper.
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
        """Project.

        Args:
            features: (B, channels, rows, columns) of each layer.
            places: numbers of pixels, counted row by row, of each layer.

        Returns:
            (B, places, width) of each layer, of length 1.
        """
        found: list[Tensor] = []
        for layer, feature, at in zip(self.layers, features, places, strict=True):
            patches = feature.flatten(2)[..., at].transpose(1, 2)
            found.append(torch.nn.functional.normalize(layer(patches), dim=-1))
        return found
