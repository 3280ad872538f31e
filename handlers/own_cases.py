"""Decide which process writes a case, where processes may share one."""

from __future__ import annotations

import ignite.distributed as idist
from ignite.engine import Engine
from monai.utils import string_list_all_gather


class OwnCases:
    """Rule by which each case is written once: where all processes have the same cases, the first one writes.

    That happens where there are fewer cases than processes. All processes must ask in every iteration.
    """

    def __init__(self) -> None:
        self._writes = True

    def asked(self, engine: Engine, case: str) -> bool:
        """Return whether this process writes its cases.

        Args:
            engine: engine in one of its iterations.
            case: first case of the batch of this process.
        """
        if engine.state.iteration == 1:
            first_cases = string_list_all_gather([case])
            self._writes = first_cases.index(first_cases[idist.get_rank()]) == idist.get_rank()
        return self._writes
