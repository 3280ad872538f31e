"""Several losses under their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import nn


class WeightedLoss(TypedDict):
    """A loss `(prediction, target) -> scalar` and what it is multiplied by."""

    loss: nn.Module
    weight: float


class WeightedLosses(nn.Module):
    """Losses between prediction and target, each multiplied by its weight and kept under its name.

    Args:
        terms: name -> `{"loss": module, "weight": number}`.
    """

    def __init__(self, terms: Mapping[str, WeightedLoss]) -> None:
        super().__init__()
        self.losses = nn.ModuleDict({name: term["loss"] for name, term in terms.items()})
        self.weights = {name: float(term["weight"]) for name, term in terms.items()}

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Evaluate every loss.

        Args:
            prediction: (B, 1, D, H, W).
            target: (B, 1, D, H, W).

        Returns:
            name -> weighted scalar.
        """
        return {name: self.weights[name] * loss(prediction, target) for name, loss in self.losses.items()}
