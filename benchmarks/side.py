"""Run one side of a comparison in a process of its own that stays alive, so that sides can take turns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol


class Side:
    """The process of one side, and the subject in it; it takes the environment of its first use."""

    def __init__(self) -> None:
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def load(self, make: Callable[..., Any], *arguments: Any) -> None:
        """Build the subject."""
        self.pool.submit(_load, make, arguments).result()

    def ask(self, method: str) -> Any:
        """Call a method of the subject and return its result."""
        return self.pool.submit(_ask, method).result()

    def stop(self) -> None:
        """End the process."""
        self.pool.shutdown()


class WithReason(Protocol):
    """An object that keeps the reason why a side could not run, empty if it could."""

    reason: str


def attempt(row: WithReason, step: Callable[[], Any]) -> None:
    """Run a step of a side unless it has failed before, and keep the reason if it fails."""
    if row.reason:
        return
    try:
        step()
    except RuntimeError as error:  # of torch, for example no memory left, or of a process that was ended
        row.reason = str(error).splitlines()[0]


_subjects: list[Any] = []
"""The subject of this process."""


def _load(make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    Path("/proc/self/oom_score_adj").write_text("1000")  # if memory runs out, this process ends and not another one
    _subjects[:] = [make(*arguments)]


def _ask(method: str) -> Any:
    return getattr(_subjects[0], method)()
