"""Save the translators after every epoch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from torch import nn

from engines import bare
from networks import record_path, write_record
from storage import set_aside, write_tensors


class TranslatorSaver:
    """Handler of the trainer that saves its translators after every epoch; those of the last epoch stay.

    No measure finds the best one while they train. Each is a bare state dict `<name>.pt` with its record `<name>.json`
    next to it. Files of an earlier run are renamed after the time they were written. With several processes, the first
    one writes.

    Args:
        ckpt_dir: folder of the files.
        networks: name -> network to save, for example the running average of a generator.
        record: what `networks.make_record` returned; `translator` and `epochs` are added.
    """

    def __init__(
        self, ckpt_dir: str | os.PathLike[str], networks: Mapping[str, nn.Module], record: Mapping[str, Any]
    ) -> None:
        self.networks = {Path(ckpt_dir) / f"{name}.pt": bare(network) for name, network in networks.items()}
        self.record = dict(record)

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _start(self, engine: Engine) -> None:
        if engine.state.epoch == 0:
            for file in self.networks:
                set_aside(file, record_path(file))

    def _save(self, engine: Engine) -> None:
        for file, network in self.networks.items():
            write_record(file, {**self.record, "translator": file.stem, "epochs": engine.state.epoch})
            write_tensors(file, network.state_dict())
