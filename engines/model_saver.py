"""The models a run leaves: the best by validation, the last, and what made them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from conventions import set_aside, write_json, write_tensors

from .checkpoint import record_path


class ModelSaver:
    """Handler of the validating engine that saves the network whenever its key metric is better than ever.

    `model.pt` is a bare state dict, `model.json` beside it its record. The model of an earlier run is renamed after the
    time it was written, never overwritten; it stays in its place until this run has one.

    Args:
        ckpt_dir: folder of the model file.
        network: what is saved, for example the running average of the generator.
        record: what makes the model, JSON-able; `load_model` compares it when the model is used.
        filename: name of the model file.
        write: whether this process writes; of several, one does, and all know what was best.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike[str],
        network: nn.Module,
        record: Mapping[str, Any],
        filename: str = "model.pt",
        write: bool = True,
    ) -> None:
        self.checkpoint = Path(ckpt_dir) / filename
        self.network = network
        self.record = record
        self.write = write
        self.best: float | None = None
        self.best_epoch = 0

    def attach(self, engine: Engine) -> None:
        """Register with the validating engine."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save the network if it is the best so far; the larger the metric, the better."""
        value = float(engine.state.metrics[engine.state.key_metric_name])
        if self.best is not None and value <= self.best:
            return
        first = self.best is None
        self.best, self.best_epoch = value, engine.state.epoch
        if not self.write:
            return
        if first:
            set_aside(self.checkpoint, record_path(self.checkpoint))
            write_json(record_path(self.checkpoint), self.record)
        write_tensors(self.checkpoint, self.network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The best so far."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the best so far."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
