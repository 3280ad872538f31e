"""Save the best model by validation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch import nn

from networks import mean_path, record_path, write_record
from storage import set_aside, write_tensors

from .mean_volume import MeanVolume


class ModelSaver:
    """Handler of the validating engine that saves the network whenever its key metric is the best so far.

    `model.pt` is a bare state dict, `model.json` its record, `model_mean.pt` the mean training volume. The model of an
    earlier run is renamed after the time it was written, never overwritten; it stays in its place until this run has
    one. With several processes, the first one writes, and all know which epoch was best.

    Args:
        ckpt_dir: folder of the model file.
        network: network to save, for example the running average of the generator.
        record: what `networks.make_record` returned; `networks.load` compares it when the model is used.
        mean: handler that holds the mean training volume, saved with the model; None saves none.
        filename: name of the model file.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike[str],
        network: nn.Module,
        record: Mapping[str, Any],
        mean: MeanVolume | None = None,
        filename: str = "model.pt",
    ) -> None:
        self.checkpoint = Path(ckpt_dir) / filename
        self.network = network
        self.record = record
        self.mean = mean
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
        if idist.get_rank() > 0:
            return
        if first:
            set_aside(self.checkpoint, record_path(self.checkpoint), mean_path(self.checkpoint))
            write_record(self.checkpoint, self.record)
        if self.mean is not None and self.mean.volume is not None:
            write_tensors(mean_path(self.checkpoint), self.mean.volume)
        write_tensors(self.checkpoint, self.network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the best metric so far and its epoch."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the best metric of a run that is resumed."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
