"""Stops a training whose translations have come out inverted."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events

from conventions import InputError

POLARITY = "polarity"
"""Name in `state.output`: correlation of images with their translations, the lower one of both directions."""


class PolarityCheck:
    """Handler that ends a run in which bone has become dark.

    CycleGAN may settle on inverted translations early, since two inversions are none, and then does not heal (the
    authors' list of failures). The mean of `polarity` over the last steps is looked at in every step from then on.

    Args:
        steps: over which it is averaged; 0 never stops.

    Raises:
        InputError: while running, where the mean is negative.
    """

    def __init__(self, steps: int = 500) -> None:
        self.last: deque[float] = deque(maxlen=steps)

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        if self.last.maxlen:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Take a step in."""
        self.last.append(float(engine.state.output[POLARITY]))
        mean = sum(self.last) / len(self.last)
        if len(self.last) == self.last.maxlen and mean < 0:
            raise InputError(
                f"translations come out inverted (correlation with the image {mean:.2f} over {len(self.last)} steps), "
                "which does not heal; train anew with a larger --lambda_identity or another --seed"
            )

    def state_dict(self) -> dict[str, Any]:
        """The last steps."""
        return {"last": list(self.last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with steps."""
        self.last = deque(state["last"], maxlen=self.last.maxlen)
