"""The paper's learning rate."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class ConstantThenLinear(LambdaLR):
    """Constant rate, then a linear fall; stepped once an epoch.

    The factor in epoch e (the first is 1) is 1 - max(0, e + 1 - constant_epochs) / (decay_epochs + 1), as the authors
    have it, but never below a floor: theirs is 0 in the last epoch and negative after a resume.

    Args:
        optimizer: whose rates to set.
        constant_epochs: epochs before the fall.
        decay_epochs: epochs of the fall.
        floor: smallest factor, above 0.
    """

    def __init__(
        self, optimizer: Optimizer, constant_epochs: int = 50, decay_epochs: int = 50, floor: float = 0.01
    ) -> None:
        if not 0 < floor <= 1:
            raise ValueError(f"floor must lie in (0, 1], got {floor}")
        self.constant_epochs = constant_epochs
        self.decay_epochs = decay_epochs
        self.floor = floor
        super().__init__(optimizer, self.factor)

    def factor(self, epochs_done: int) -> float:
        """Factor on the base rate after a number of finished epochs."""
        epoch = epochs_done + 1
        fallen = max(0, epoch + 1 - self.constant_epochs) / (self.decay_epochs + 1)
        return max(1 - fallen, self.floor)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after as many epochs, with the lengths and the floor given here: a run may be made longer."""
        ours = {name: getattr(self, name) for name in ("constant_epochs", "decay_epochs", "floor")}
        super().load_state_dict({**state_dict, **ours})
