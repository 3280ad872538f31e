"""Schedule the learning rate as X2CT-GAN and CycleGAN do."""

from __future__ import annotations

from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from conventions import InputError


class ConstantThenLinear(LambdaLR):
    """Constant learning rate followed by a linear fall, stepped once an epoch.

    The factor in epoch e (the first is 1) is 1 - max(0, e + 1 - constant_epochs) / (decay_epochs + 1), as in the code
    of X2CT-GAN, but never below a floor: theirs is 0 in the last epoch and negative after a resume. CycleGAN's code
    does the same where it steps its schedule at the start of an epoch (July 2020 to July 2025); before and since it
    steps at the end, so that the fall begins one epoch later.

    Args:
        optimizer: optimiser whose rates to set.
        constant_epochs: epochs before the fall; by default half of `epochs`.
        decay_epochs: epochs of the fall; by default the rest of `epochs`.
        floor: smallest factor, above 0.
        stepped: "start" or "end" of an epoch, as above.
        epochs: epochs of the whole run.

    Raises:
        ValueError: where the floor does not lie in (0, 1].
        InputError: where `stepped` is another word.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        constant_epochs: int | None = None,
        decay_epochs: int | None = None,
        floor: float = 0.01,
        stepped: Literal["start", "end"] = "start",
        *,
        epochs: int = 100,
    ) -> None:
        if not 0 < floor <= 1:
            raise ValueError(f"floor must lie in (0, 1], got {floor}")
        if stepped not in ("start", "end"):
            raise InputError(f"a schedule is stepped at the 'start' or the 'end' of an epoch, got {stepped!r}")
        self.constant_epochs = epochs // 2 if constant_epochs is None else constant_epochs
        self.decay_epochs = epochs - self.constant_epochs if decay_epochs is None else decay_epochs
        self.floor = floor
        self.stepped = stepped
        super().__init__(optimizer, self.factor)

    def factor(self, epochs_done: int) -> float:
        """Return the factor on the base rate after a number of finished epochs."""
        epoch = epochs_done + 1
        ahead = 1 if self.stepped == "start" else 0
        fallen = max(0, epoch + ahead - self.constant_epochs) / (self.decay_epochs + 1)
        return max(1 - fallen, self.floor)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the same number of epochs, with the lengths and the floor of this run, which may be longer."""
        ours = {name: getattr(self, name) for name in ("constant_epochs", "decay_epochs", "floor", "stepped")}
        super().load_state_dict({**state_dict, **ours})
