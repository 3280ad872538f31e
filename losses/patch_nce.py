"""The contrastive loss of patches by which FastCUT keeps the content of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy


class PatchNCELoss(nn.Module):
    """InfoNCE of patches (Park et al., ECCV 2020, section 3).

    A patch of a translation should be like the patch of the image at its place, and unlike all others of that image.
    The loss is averaged over patches and images, then over layers.

    Args:
        temperature: temperature of the softmax.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, translated: Sequence[torch.Tensor], source: Sequence[torch.Tensor]) -> torch.Tensor:
        """Compare patches layer by layer.

        Args:
            translated: patches of the translation, (B, patches, features) of each layer, vectors of length 1.
            source: the same places of the image; they get no gradient.

        Returns:
            Scalar.
        """
        layers = [self._layer(a, b.detach()) for a, b in zip(translated, source, strict=True)]
        return torch.stack(layers).mean()

    def _layer(self, translated: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        likeness = translated @ source.transpose(1, 2) / self.temperature  # (B, of the translation, of the image)
        places = torch.arange(likeness.shape[1], device=likeness.device).expand(len(likeness), -1)
        return cross_entropy(likeness.flatten(0, 1), places.flatten())
