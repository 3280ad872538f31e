"""One side of a comparison, in a process of its own that stays alive, so that sides can take turns."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol


class Side:
    """One side's process and the subject that lives in it. It takes the environment of when it is first used."""

    def __init__(self) -> None:
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def load(self, make: Callable[..., Any], *arguments: Any) -> None:
        """Make the subject."""
        self.pool.submit(_load, make, arguments).result()

    def ask(self, method: str) -> Any:
        """What a method of the subject returns."""
        return self.pool.submit(_ask, method).result()

    def stop(self) -> None:
        """End the process."""
        self.pool.shutdown()


class WithReason(Protocol):
    """What keeps why a side could not run; empty where it could."""

    reason: str


def attempt(row: WithReason, step: Callable[[], Any]) -> None:
    """Do a step of a side that has not failed before, and keep the reason where it fails now."""
    if row.reason:
        return
    try:
        step()
    except RuntimeError as error:  # torch's own, such as no memory left, or a process that was ended
        row.reason = str(error).splitlines()[0]


_subjects: list[Any] = []
"""The one of this process."""


def _load(make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, end this process and not another
    _subjects[:] = [make(*arguments)]


def _ask(method: str) -> Any:
    return getattr(_subjects[0], method)()
