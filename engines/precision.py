"""Train in fewer bits, with the gradient scaling that fp16 needs against underflow."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.optim import Optimizer

from conventions import InputError

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name -> type in which autocast computes."""


class Precision:
    """Autocast and gradient scaling for one or more optimisers.

    Args:
        name: a key of `PRECISIONS`. bf16 needs no scaling; fp16 scales gradients, with one scale for each optimiser.
        device_type: "cuda" or "cpu".
        optimizers: name -> optimiser.

    Raises:
        InputError: where the name is unknown.
    """

    def __init__(self, name: str, device_type: str, optimizers: dict[str, Optimizer]) -> None:
        if name not in PRECISIONS:
            raise InputError(f"unknown precision {name!r}: choose one of {', '.join(PRECISIONS)}")
        self.dtype = PRECISIONS[name]
        self.device_type = device_type
        self.optimizers = optimizers
        self.scalers = {key: torch.amp.GradScaler(device_type, enabled=name == "fp16") for key in optimizers}

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which networks run."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None)

    def backward(self, optimizer: str, loss: torch.Tensor) -> None:
        """Compute the gradients of a loss, scaled."""
        self.scalers[optimizer].scale(loss).backward()

    def step(self, optimizer: str, parameters: Iterable[torch.nn.Parameter], clip_norm: float | None = None) -> None:
        """Step an optimiser on unscaled gradients, clipped to a norm; in fp16 a step that overflowed is skipped."""
        scaler = self.scalers[optimizer]
        if clip_norm is not None:
            scaler.unscale_(self.optimizers[optimizer])
            torch.nn.utils.clip_grad_norm_(parameters, clip_norm)
        scaler.step(self.optimizers[optimizer])
        scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the gradient scales."""
        return {key: scaler.state_dict() for key, scaler in self.scalers.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the gradient scales."""
        for key, scaler in self.scalers.items():
            if state.get(key):
                scaler.load_state_dict(state[key])
