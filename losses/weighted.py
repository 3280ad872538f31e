"""Several weighted losses by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import nn


class WeightedLoss(TypedDict):
    """A loss `(prediction, target) -> scalar` and its weight."""

    loss: nn.Module
    weight: float


class WeightedLosses(nn.Module):
    """Losses between prediction and target by name, each multiplied by its weight.

    Args:
        terms: name -> `{"loss": module, "weight": number}`.
        expected_error: loss of an error that the network estimates, for example `LaplaceLoss`; the trainer calls it.
    """

    def __init__(self, terms: Mapping[str, WeightedLoss], expected_error: nn.Module | None = None) -> None:
        super().__init__()
        self.losses = nn.ModuleDict({name: term["loss"] for name, term in terms.items()})
        self.expected_error = expected_error
        self.weights = {name: float(term["weight"]) for name, term in terms.items()}

    def forward(self, prediction: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """Compute every loss.

        Args:
            prediction: (B, 1, D, H, W).
            target: (B, 1, D, H, W).

        Returns:
            name -> weighted scalar.
        """
        return {name: self.weights[name] * loss(prediction, target) for name, loss in self.losses.items()}
