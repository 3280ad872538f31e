"""Record what a training run was, next to its models."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import monai
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from networks import write_record
from storage import digest_of, set_aside, write_json, write_tensors

from .model_saver import ModelSaver


def describe_run(manifest: str | os.PathLike[str], seed: int) -> dict[str, Any]:
    """Describe what a run depends on apart from its configuration.

    Args:
        manifest: manifest of the cohort, or the folder that holds it.
        seed: seed of the run.

    Returns:
        Entries for `run.json`: command, seed, versions, commit of the code, SHA-256 of the manifest. No names of cases.
    """
    path = Path(manifest)
    path = path / "manifest.json" if path.is_dir() else path
    return {
        "command": sys.argv,
        "seed": seed,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "monai": monai.__version__,
            "numpy": np.__version__,
        },
        "commit": _commit(),
        "manifest_sha256": digest_of(path) if path.is_file() else None,
    }


def _commit() -> str | None:
    """Return the commit of the repository of this code; None if there is none, as in an exported bundle."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


class RunRecorder:
    """Handler of the trainer that writes `model_final.pt` with its record and `run.json` next to the best model.

    `run.json` is written after every epoch, so that a run that was stopped has one too; `steps` are the batches of this
    process, `hours` pass on the clock and `cpu_hours` are those its threads computed, all from the first start on. With
    several processes, the first one writes.

    Args:
        ckpt_dir: folder of the models.
        network: network to save at the end, for example the running average of the generator.
        record: what `describe_run` returned.
        saver: handler that saves the best model, whose metric is recorded.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike[str],
        network: nn.Module,
        record: Mapping[str, Any],
        saver: ModelSaver | None = None,
    ) -> None:
        self.folder = Path(ckpt_dir)
        self.network = network
        self.record = record
        self.saver = saver
        self.started = 0.0
        self.computed = 0.0
        self.before: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._note)
            engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self.started, self.computed = time.time(), time.process_time()
        file = self.folder / "run.json"
        if engine.state.epoch == 0:
            set_aside(file, *(self.folder / name for name in ("model_final.pt", "model_final.json")))
        self.before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def _note(self, engine: Engine) -> None:
        best = {} if self.saver is None else {"best": self.saver.best, "best_epoch": self.saver.best_epoch}
        content = {
            **self.record,
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "hours": self._hours("hours", time.time() - self.started),
            "cpu_hours": self._hours("cpu_hours", time.process_time() - self.computed),
            "steps": engine.state.iteration,
            "epochs": engine.state.epoch,
            "max_epochs": engine.state.max_epochs,
            "validation": best,
        }
        write_json(self.folder / "run.json", content)

    def _hours(self, name: str, seconds: float) -> float:
        """Add the seconds since the last start to the hours before it."""
        return round(self.before.get(name, 0) + seconds / 3600, 3)

    def _finish(self, engine: Engine) -> None:
        if self.saver is not None:
            write_record(self.folder / "model_final.pt", self.saver.record)
        write_tensors(self.folder / "model_final.pt", self.network.state_dict())
