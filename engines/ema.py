"""Keep a running average of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from conventions import InputError

from .distributed import bare

Tensors = tuple[Tensor, ...] | list[Tensor]


class ExponentialAverage(AveragedModel):
    """Exponential moving average of a network's weights, in `module`; buffers are averaged too.

    Early in training it forgets faster, with the decay (1 + n) / (10 + n) after n updates, so that it is useful in a
    short run as well.

    Args:
        network: network whose weights to average.
        decay: decay of the average; 0 keeps a copy of the weights as they are.

    Raises:
        InputError: where the decay is not in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"the decay of the average is {decay}; give a number from 0 (no average) to below 1")
        super().__init__(bare(network), multi_avg_fn=self._average, use_buffers=True)
        self.decay = decay
        self.requires_grad_(False)

    def _average(self, averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
        count = int(updates)
        share = 1 - min(self.decay, (1 + count) / (10 + count))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, share)
        else:
            torch._foreach_copy_(averaged, current)

    def update_parameters(self, model: nn.Module) -> None:
        """Add the weights after a step to the average."""
        super().update_parameters(bare(model))
