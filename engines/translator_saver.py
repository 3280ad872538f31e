"""The translators that a training of styles leaves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from conventions import set_aside, write_json, write_tensors

from .checkpoint import record_path
from .distributed import bare


class TranslatorSaver:
    """Handler of the trainer that writes its translators after every epoch, the last one counts.

    No measure tells a best one while it trains. Each is a bare state dict `<name>.pt` with its record `<name>.json`
    beside it. Files of an earlier run are renamed after the time they were written.

    Args:
        ckpt_dir: folder of the files.
        networks: name -> what is saved, for example the running average of a generator.
        record: what makes the models, JSON-able.
        write: whether this process writes; of several, one does.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike[str],
        networks: Mapping[str, nn.Module],
        record: Mapping[str, Any],
        write: bool = True,
    ) -> None:
        self.networks = {Path(ckpt_dir) / f"{name}.pt": bare(network) for name, network in networks.items()}
        self.record = dict(record)
        self.write = write

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        if self.write:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _start(self, engine: Engine) -> None:
        if engine.state.epoch == 0:
            for file in self.networks:
                set_aside(file, record_path(file))

    def _save(self, engine: Engine) -> None:
        for file, network in self.networks.items():
            write_json(record_path(file), {**self.record, "translator": file.stem, "epochs": engine.state.epoch})
            write_tensors(file, network.state_dict())
