"""What a training run was, for whoever finds its models later."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn

from conventions import set_aside, write_json, write_tensors

from .model_saver import ModelSaver


def describe_run(manifest: str | os.PathLike[str], seed: int) -> dict[str, Any]:
    """What a run depends on besides its configuration.

    Args:
        manifest: of the cohort, or the folder that holds it; its SHA-256 is taken.
        seed: of the run.

    Returns:
        Entries for `run.json`: command, seed, versions, commit of the code, hash of the manifest. No names of cases.
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
        "manifest_sha256": hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None,
    }


def _commit() -> str | None:
    """Of the repository that this code lies in; None where it is none, as in an exported bundle."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


class RunRecorder:
    """Handler of the trainer that leaves `model_final.pt` and `run.json` beside the best model.

    `run.json` is written after every epoch, so that a run that was stopped has one too.

    Args:
        ckpt_dir: folder of the models.
        network: what is saved at the end, for example the running average of the generator.
        record: what `describe_run` gives.
        saver: of the best model, whose metric is told.
        write: whether this process writes; of several, one does.
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike[str],
        network: nn.Module,
        record: Mapping[str, Any],
        saver: ModelSaver | None = None,
        write: bool = True,
    ) -> None:
        self.folder = Path(ckpt_dir)
        self.network = network
        self.record = record
        self.saver = saver
        self.write = write
        self.started = 0.0

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        if self.write:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._note)
            engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self.started = time.time()
        if engine.state.epoch == 0:
            set_aside(self.folder / "run.json", self.folder / "model_final.pt")

    def _note(self, engine: Engine) -> None:
        best = {} if self.saver is None else {"best": self.saver.best, "best_epoch": self.saver.best_epoch}
        content = {
            **self.record,
            "started": datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds"),
            "hours": round((time.time() - self.started) / 3600, 3),
            "epochs": engine.state.epoch,
            "max_epochs": engine.state.max_epochs,
            "validation": best,
        }
        write_json(self.folder / "run.json", content)

    def _finish(self, engine: Engine) -> None:
        write_tensors(self.folder / "model_final.pt", self.network.state_dict())
