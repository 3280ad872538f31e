"""Predict the CT of every study in a folder, once, and put what fails aside with its sentence."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conventions import InputError
from storage import key_of, write_json

logger = logging.getLogger("x2ct.export")

FAILED, DONE = "failed", ".done"
"""Folders of the output: one JSON file for each study that failed, and for each that is done."""

Predict = Callable[[Path, Path], object]
"""Function that predicts a study, (folder of its films, folder to make)."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of one pass over a folder of studies.

    Args:
        done: names of the studies that were done in it.
        failed: name -> sentence of those that failed in it.
        waiting: whether studies were left for a later pass, since their files were still changing.
    """

    done: list[str]
    failed: dict[str, str]
    waiting: bool


class StudyFolder:
    """Folder of studies in, folder of DICOM series out; each study is done once.

    A study is a folder in `source`, with its films in it or below it; `source` itself is one where it holds files.
    Studies are only read. A study is done where its series is in `destination`, or was: `.done/NAME.json` remembers
    it after a router took the series away. `failed/NAME.json` says why a study failed; it is tried again once its
    files change or that file is removed.

    Args:
        source: folder of the studies.
        destination: folder of the series, made where it is missing; not inside the source.
        predict: predicts one study; raises `InputError` where it cannot.
        settle_s: seconds for which the files of a study must not have changed; less and it may still be arriving.

    Raises:
        InputError: where the source is no folder, or the destination lies in it.
    """

    def __init__(
        self, source: str | os.PathLike[str], destination: str | os.PathLike[str], predict: Predict, settle_s: float = 0
    ) -> None:
        self.source, self.destination = Path(source), Path(destination)
        self.predict = predict
        self.settle_s = settle_s
        if not self.source.is_dir():
            raise InputError(f"{source}: there is no such folder; give a folder of studies")
        if self.source.resolve() in (self.destination.resolve(), *self.destination.resolve().parents):
            raise InputError(f"{destination}: lies in the folder of the studies; give another folder for the series")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing into the same folder.

        Raises:
            InputError: where another process does.
        """
        try:
            (self.destination / DONE).mkdir(parents=True, exist_ok=True)
            lock = (self.destination / DONE / "lock").open("w")
        except OSError as error:
            raise InputError(f"{self.destination}: cannot be written ({error}); choose another folder") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"{self.destination}: another process writes here; end it or choose another"
                ) from error
            yield

    def once(self) -> Outcome:
        """Do all studies that are there, are not done, and have not failed as they are.

        Returns:
            What was done.
        """
        done: list[str] = []
        failed: dict[str, str] = {}
        waiting = False
        for study in self._studies():
            name = study.name or "study"
            content, newest = _content(study)
            if self._known(name, content):
                continue
            if time.time() - newest < self.settle_s:
                waiting = True
                continue
            problem = self._do(study, name)
            if _content(study)[0] != content and problem is not None:
                waiting = True  # files arrived meanwhile, so it is tried again
                continue
            folder = self.destination / (DONE if problem is None else FAILED)
            write_json(folder / f"{name}.json", {"content": content, **({"problem": problem} if problem else {})})
            if problem is None:
                (self.destination / FAILED / f"{name}.json").unlink(missing_ok=True)
                done.append(name)
            else:
                failed[name] = problem
                logger.error("%s failed: %s", name, problem)
        return Outcome(done, failed, waiting)

    def watch(self, every_s: float = 2) -> None:
        """Do studies as they arrive, until the process is ended."""
        while True:
            self.once()
            time.sleep(every_s)

    def _studies(self) -> list[Path]:
        """Return the folders of the studies, in the order of their names."""
        there = [path for path in sorted(self.source.iterdir()) if not path.name.startswith(".")]
        if any(path.is_file() for path in there):
            return [self.source.resolve()]
        return [path for path in there if path.is_dir() and any(file.is_file() for file in path.rglob("*"))]

    def _known(self, name: str, content: str) -> bool:
        if (self.destination / name).is_dir() or (self.destination / DONE / f"{name}.json").is_file():
            return True
        try:
            failure = json.loads((self.destination / FAILED / f"{name}.json").read_text(encoding="utf-8"))
            return failure["content"] == content
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _do(self, study: Path, name: str) -> str | None:
        """Predict a study; return the sentence where that fails."""
        if name == FAILED:
            return f"{study}: a study cannot be named {FAILED}; rename its folder"
        try:
            self.predict(study, self.destination / name)
        except InputError as error:
            return str(error)
        except Exception as error:  # one study must not end the others; its message may name the patient
            return f"{study}: failed with {type(error).__name__}; run inferring on it to see why"
        logger.info("%s is done: %s", name, self.destination / name)
        return None


def _content(study: Path) -> tuple[str, float]:
    """Return a key of the names, sizes and times of the files of a study, and the latest of the times."""
    states = []
    for file in sorted(study.rglob("*")):
        with contextlib.suppress(OSError):  # a file that was renamed meanwhile
            state = file.stat()
            states.append((str(file.relative_to(study)), state.st_size, state.st_mtime_ns))
    return key_of(json.dumps(states)), max((state[2] for state in states), default=0) / 1e9
