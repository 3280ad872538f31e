"""Predict with a network and make the volume agree with its radiographs."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer
from torch import nn


class UpdatingInferer(Inferer):
    """MONAI inferer that makes each predicted volume agree with its radiographs, differentiably.

    A network that is trained with it learns what the update leaves open.

    Args:
        update: a `networks.ConsistencyUpdate`, called as `update(volume, image, geometry)`.
    """

    def __init__(self, update: nn.Module) -> None:
        super().__init__()
        self.update = update

    def __call__(self, inputs: torch.Tensor, network: nn.Module, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Predict volumes (B, 1, D, H, W) in unit values from radiographs (B, views, rows, columns).

        Args:
            inputs: radiographs.
            network: called as `network(inputs, *args, **kwargs)`.
            args: further arguments of the network.
            kwargs: the same by name; `geometry` is also given to the update.
        """
        predicted = network(inputs, *args, **kwargs).float()
        updated: torch.Tensor = self.update(predicted, inputs.float(), kwargs.get("geometry"))
        return updated
