"""Show a progress bar over the whole run, with the time left."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from tqdm import tqdm

from conventions import Keys

SECONDS_BETWEEN_LINES = 15.0
"""Time between two prints of a bar that cannot be redrawn in place, as in a log file."""


class ProgressBar:
    """Handler that counts all iterations of all epochs and shows the last losses.

    With several processes, the first one shows the bar.

    Args:
        description: word in front of the bar.
        terms: names in `state.output` to show.
    """

    def __init__(self, description: str, terms: Sequence[str] = (Keys.LOSS,)) -> None:
        self.description = description
        self.terms = tuple(terms)
        self.bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
            engine.add_event_handler(Events.COMPLETED, self._close)
            engine.add_event_handler(Events.TERMINATE, self._close)
            engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _start(self, engine: Engine) -> None:
        total = (engine.state.epoch_length or 0) * (engine.state.max_epochs or 1) or None
        options: dict[str, Any] = {"initial": engine.state.iteration, "mininterval": 0.5, "dynamic_ncols": True}
        if not sys.stderr.isatty():
            # A line each, so that what is printed next begins a line of its own.
            options.update(mininterval=SECONDS_BETWEEN_LINES, bar_format="{l_bar}{bar}{r_bar}\n")
        self.bar = tqdm(total=total, desc=self.description, unit="step", **options)

    def _advance(self, engine: Engine) -> None:
        output = engine.state.output
        first = output[0] if isinstance(output, list) else output
        if isinstance(first, Mapping):
            shown = {term: f"{float(first[term]):.3f}" for term in self.terms if term in first}
            self.bar.set_postfix({"epoch": engine.state.epoch, **shown}, refresh=False)
        self.bar.update()

    def _close(self, engine: Engine) -> None:
        self.bar.close()

    def _fail(self, engine: Engine, error: Exception) -> None:
        # Ends the bar's line, so that the message does not begin in the middle of it.
        self.bar.close()
        raise error
