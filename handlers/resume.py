"""Resume a training run that was stopped, bit for bit."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events

from conventions import InputError
from networks import start_from
from storage import read_tensors, set_aside, to_json, write_tensors

logger = logging.getLogger("x2ct.resume")

LATEST = "latest"
NONE = "none"
"""Modes of `Resume` other than a path."""

RESUME_NAME = "resume.pt"
PREVIOUS_NAME = "resume_previous.pt"
"""Names of the file of the newest saved epoch, and of the one before it."""


class Resume:
    """Handler that saves a training run after every epoch, with everything it needs to continue, and restores it.

    It is the `resume` argument of a trainer, which is restored before its first epoch. `resume.pt` is written whole or
    not at all; the one before it stays as `resume_previous.pt`. It holds the state of every part, the number of the
    epoch and the settings that must not differ. It holds no random state, since everything that is drawn follows from
    the seed and the epoch (`EpochSeeds`). With several processes, the first one writes and all continue from its file.

    Args:
        output_dir: folder of the files.
        settings: what must not differ between a run and the one it continues, ready for JSON; for example
            `run_settings`.
        mode: "latest" continues from the newest file in the folder, if there is one; a path continues from that file;
            "none" starts from the beginning and renames the files of an earlier run.
        parts: name -> handler with a state of its own (`state_dict` and `load_state_dict`), saved with the trainer's
            own `parts`.
        every: number of epochs between two saves; the last epoch is always saved.
        initial_model: model file whose weights a run begins with that continues no other; None keeps those of the
            trainer's network.

    Raises:
        InputError: where the file is missing, not whole, or of another run, and where the initial model is missing,
            damaged or of another network.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        settings: Mapping[str, Any],
        mode: str | os.PathLike[str] = NONE,
        parts: Mapping[str, Any] | None = None,
        every: int = 1,
        initial_model: str | os.PathLike[str] | None = None,
    ) -> None:
        self.folder = Path(output_dir)
        self.settings = json.loads(to_json(settings))
        self.mode = mode
        self.parts = dict(parts or {})
        self.every = every
        self.initial_model = initial_model

    def attach(self, trainer: Any) -> None:
        """Register with the trainer, whose `parts` are saved too."""
        self.parts = {**trainer.parts, **self.parts}
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def restore(self, trainer: Any) -> bool:
        """Restore the trainer to the saved epoch, or leave it at the beginning.

        Args:
            trainer: the trainer that this is attached to.

        Returns:
            Whether epochs are left to train.
        """
        if idist.get_rank() == 0:
            for unfinished in self.folder.glob(f".*-next_{RESUME_NAME}"):  # left by a run that was killed while writing
                unfinished.unlink()
        content = self._find()
        if content is None:
            self._begin(trainer)
            return True
        self._restore(trainer, content)
        if trainer.state.epoch < trainer.state.max_epochs:
            return True
        logger.info("all %d epochs of this run are done; train longer with --max_epochs", trainer.state.max_epochs)
        return False

    def _begin(self, trainer: Any) -> None:
        """Give the network, and its running average, the weights of the initial model."""
        if self.initial_model is None:
            return
        network, ema = trainer.parts["network"], trainer.parts.get("ema")
        for module in (network,) if ema is None else (network, ema.module):
            start_from(module, self.initial_model)
        logger.info("training begins with the weights of %s", self.initial_model)

    def _find(self) -> dict[str, Any] | None:
        files = [self.folder / RESUME_NAME, self.folder / PREVIOUS_NAME]
        if str(self.mode) == NONE:
            if idist.get_rank() == 0:
                set_aside(*files)
            return None
        if str(self.mode) != LATEST:
            return self._check(_read(Path(self.mode)))
        there = [file for file in files if file.is_file()]
        for number, file in enumerate(there):
            try:
                content = _read(file)
            except InputError as error:
                if number == len(there) - 1:
                    raise
                logger.warning("%s; resuming from %s instead", error, there[number + 1])
            else:
                return self._check(content)
        logger.info("%s: nothing to resume, starting from the beginning", self.folder)
        return None

    def _check(self, content: dict[str, Any]) -> dict[str, Any]:
        """Refuse what was written by another run."""
        file = content["file"]
        for name, value in self.settings.items():
            before = content["settings"].get(name)
            if before != value:
                name, before, value = _first_difference(name, before, value)
                raise InputError(
                    f"{file}: belongs to a run with {name} {before!r}, this one has {value!r}; use its configuration, "
                    "or start over with --resume none and another --output_dir"
                )
        if content["parts"].keys() != self.parts.keys():
            odd = sorted(content["parts"].keys() ^ self.parts.keys())[0]
            raise InputError(
                f"{file}: belongs to a run {'with' if odd in content['parts'] else 'without'} {odd}; use its "
                "configuration, or start over with --resume none and another --output_dir"
            )
        return content

    def _restore(self, trainer: Any, content: Mapping[str, Any]) -> None:
        for name, part in self.parts.items():
            try:
                part.load_state_dict(content["parts"][name])
            except (RuntimeError, ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{content['file']}: its {name} does not fit this run ({str(error).splitlines()[0]}); use the "
                    "configuration it was written with"
                ) from error
        trainer.load_state_dict(
            {"epoch": content["epoch"], "epoch_length": content["epoch_length"], "max_epochs": trainer.state.max_epochs}
        )
        logger.info("resuming after epoch %d from %s", content["epoch"], content["file"])

    def _save(self, engine: Engine) -> None:
        last = engine.state.epoch == engine.state.max_epochs
        if idist.get_rank() > 0 or not (last or engine.state.epoch % self.every == 0):
            return
        content = {
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "settings": self.settings,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        file = self.folder / RESUME_NAME
        newest = write_tensors(self.folder / f"next_{RESUME_NAME}", content)
        # A run killed between these two has no resume.pt, but its previous and its next file are both whole.
        if file.exists():
            os.replace(file, self.folder / PREVIOUS_NAME)
        os.replace(newest, file)


def _first_difference(name: str, before: Any, value: Any) -> tuple[str, Any, Any]:
    """Descend to the first setting that differs, so that the message names it."""
    while isinstance(before, dict) and isinstance(value, dict):
        key = next(key for key in [*before, *value] if before.get(key) != value.get(key))
        name, before, value = f"{name} {key}", before.get(key), value.get(key)
    return name, before, value


def _read(file: Path) -> dict[str, Any]:
    """Read a resume file; its path is added as `file`."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; give the {RESUME_NAME} of a run, or --resume latest")
    content = read_tensors(file, "is not whole or no resume file; give another, or --resume none")
    if not isinstance(content, dict) or not {"epoch", "epoch_length", "settings", "parts"} <= content.keys():
        raise InputError(f"{file}: is no resume file; give the {RESUME_NAME} of a run, or --resume none")
    return {**content, "file": file}
