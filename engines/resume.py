"""Going on with a training run that was stopped, as if it had not been."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from conventions import InputError, read_tensors, set_aside, write_tensors

from .distributed import bare

logger = logging.getLogger("x2ct.resume")

LATEST = "latest"
NONE = "none"

RESUME_NAME = "resume.pt"
PREVIOUS_NAME = "resume_previous.pt"


class Resume:
    """Keeps all that a training run needs to go on after an epoch, in one file, and goes on from it.

    The file `resume.pt` is written whole or not at all at the end of every epoch; the one before it stays as
    `resume_previous.pt`. It holds the state of every part, the number of the epoch and the settings that must be the
    same. Nothing random is in it but what a part keeps, since everything drawn follows from the seed and the epoch
    (`EpochSeeds`). Listed last, after whatever changes at the end of an epoch.

    Args:
        output_dir: folder of the file.
        parts: name -> what has `state_dict` and `load_state_dict`: networks, optimisers, schedules, averages, handlers.
            None is left out. The trainer's own `precision` is added.
        settings: what must not differ between a run and the one it goes on from, ready for JSON.
        mode: "latest" goes on from the newest file in the folder where there is one, a path from that file, "none"
            starts anew and renames what an earlier run left.
        every: epochs between two writings; the last epoch is always written.
        write: whether this process writes; of several, one does, and all go on from its file.

    Raises:
        InputError: where the file is not there, not whole, or of another run.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        parts: Mapping[str, Any],
        settings: Mapping[str, Any],
        mode: str | os.PathLike[str] = NONE,
        every: int = 1,
        write: bool = True,
    ) -> None:
        self.folder = Path(output_dir)
        self.parts = {name: bare(part) for name, part in parts.items() if part is not None}
        self.settings = dict(settings)
        self.mode = mode
        self.every = every
        self.write = write

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def run(self, trainer: Any) -> None:
        """Train to the end, from the beginning or from where the file says.

        Args:
            trainer: the engine that this is a handler of.
        """
        self.parts["precision"] = trainer.precision
        if self.write:
            for unfinished in self.folder.glob(f".*-next_{RESUME_NAME}"):  # of a run that was killed while it wrote
                unfinished.unlink()
        content = self._find()
        if content is not None:
            self._restore(trainer, content)
            if trainer.state.epoch >= trainer.state.max_epochs:
                logger.info(
                    "all %d epochs of this run are done; train longer with --max_epochs", trainer.state.max_epochs
                )
                return
        trainer.run()

    def _find(self) -> dict[str, Any] | None:
        files = [self.folder / RESUME_NAME, self.folder / PREVIOUS_NAME]
        if str(self.mode) == NONE:
            if self.write:
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
                logger.warning("%s; going on from %s", error, there[number + 1])
            else:
                return self._check(content)
        logger.info("%s: nothing to resume, starting anew", self.folder)
        return None

    def _check(self, content: dict[str, Any]) -> dict[str, Any]:
        """Refuse what was written by another run."""
        file = content["file"]
        for name, value in self.settings.items():
            before = content["settings"].get(name)
            if before != value:
                raise InputError(
                    f"{file}: is of a run with {name} {before!r}, this one has {value!r}; use its configuration, or "
                    "start anew with --resume none and another --output_dir"
                )
        if content["parts"].keys() != self.parts.keys():
            odd = sorted(content["parts"].keys() ^ self.parts.keys())[0]
            raise InputError(
                f"{file}: is of a run {'with' if odd in content['parts'] else 'without'} {odd}; use its configuration"
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
            {
                "epoch": content["epoch"],
                "epoch_length": content["epoch_length"],
                "max_epochs": trainer.state.max_epochs,
            }
        )
        logger.info("going on after epoch %d from %s", content["epoch"], content["file"])

    def _save(self, engine: Engine) -> None:
        last = engine.state.epoch == engine.state.max_epochs
        if not self.write or not (last or engine.state.epoch % self.every == 0):
            return
        content = {
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "settings": self.settings,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
        }
        file = self.folder / RESUME_NAME
        newest = write_tensors(self.folder / f"next_{RESUME_NAME}", content)
        # Between these two there is no resume.pt, but the one before it and the next are both whole.
        if file.exists():
            os.replace(file, self.folder / PREVIOUS_NAME)
        os.replace(newest, file)


def _read(file: Path) -> dict[str, Any]:
    """What a resume file holds, and its path as `file`."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; give the {RESUME_NAME} of a run, or --resume latest")
    content = read_tensors(file, "is not whole or no resume file; give another, or --resume none")
    if not isinstance(content, dict) or not {"epoch", "epoch_length", "settings", "parts"} <= content.keys():
        raise InputError(f"{file}: is no resume file; give the {RESUME_NAME} of a run, or --resume none")
    return {**content, "file": file}
