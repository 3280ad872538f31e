"""Stop a training run whose translations are inverted."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from conventions import InputError
from engines import POLARITY


class PolarityCheck:
    """Handler of a trainer of translators that ends a run in which bone has become dark.

    CycleGAN may settle on inverted translations early, since two inversions cancel, and does not recover from it (the
    authors' list of failures). In every step the mean of `polarity` over the last steps, and over all processes, is
    checked.

    Args:
        steps: number of steps in the mean; 0 never stops.

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
        """Check one step."""
        polarity = float(engine.state.output[POLARITY])
        self.last.append(float(idist.all_reduce(polarity)) / idist.get_world_size())
        mean = sum(self.last) / len(self.last)
        if len(self.last) == self.last.maxlen and mean < 0:
            raise InputError(
                f"translations come out inverted (correlation with the image {mean:.2f} over {len(self.last)} steps), "
                "from which training does not recover; train again with a larger --lambda_identity or another --seed"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the last steps."""
        return {"last": list(self.last)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the last steps of a run that is resumed."""
        self.last = deque(state["last"], maxlen=self.last.maxlen)
