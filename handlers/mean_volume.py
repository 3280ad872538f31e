"""Average the volumes that a generator is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.utils import string_list_all_gather

from conventions import Keys


class MeanVolume:
    """Handler of the trainer that averages the volumes of the first epoch, each case once.

    The mean is the prediction of a model that ignores its input; evaluation shows it next to the network's predictions.
    Without augmentation it is the mean of the training fold. `volume`, (1, D, H, W) in unit values on the CPU, is None
    until the last step of the first epoch. With several processes some cases come twice, so their batches need `case`.
    """

    def __init__(self) -> None:
        self.volume: torch.Tensor | None = None
        self._sum: torch.Tensor | None = None
        self._count = 0
        self._seen: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Register with the trainer; the mean is complete after the last step, before any model is saved."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._add)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._finish)

    def state_dict(self) -> dict[str, Any]:
        """Return the mean, once it is complete."""
        return {"volume": self.volume}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the mean of a run that is resumed."""
        self.volume = state["volume"]

    def _start(self, engine: Engine) -> None:
        self._sum, self._count, self._seen = None, 0, set()

    def _add(self, engine: Engine) -> None:
        if self.volume is not None:
            return
        labels = torch.as_tensor(engine.state.batch[Keys.LABEL]).as_subclass(torch.Tensor).detach()
        if idist.get_world_size() > 1:
            labels = labels[self._first_seen([str(case) for case in engine.state.batch[Keys.CASE]])]
        total = labels.double().sum(0).cpu()
        self._sum = total if self._sum is None else self._sum + total
        self._count += len(labels)

    def _first_seen(self, cases: list[str]) -> list[int]:
        """Return the indices of those cases in the batch of this process that no process has had before."""
        of_all = string_list_all_gather([f"{idist.get_rank()} {number} {case}" for number, case in enumerate(cases)])
        first = []
        for rank, number, case in (entry.split(" ", 2) for entry in of_all):
            if case not in self._seen and int(rank) == idist.get_rank():
                first.append(int(number))
            self._seen.add(case)
        return first

    def _finish(self, engine: Engine) -> None:
        last = engine.state.iteration % (engine.state.epoch_length or 1) == 0
        if self.volume is not None or self._sum is None or not last:
            return
        total, count = self._sum, self._count
        if idist.get_world_size() > 1:
            total = idist.all_reduce(total.to(idist.device())).cpu()
            count = int(idist.all_reduce(count))
        self.volume, self._sum = (total / count).float(), None
