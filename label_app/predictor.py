"""Predict in a process of its own, which may die without the server, and keeps no request from being answered."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as LateError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from conventions import InputError
from export import infer_study

from .errors import RequestError

LONGEST_S = 600.0
"""Seconds after which a prediction is given up."""


class Predictor:
    """Process that predicts one study after another.

    It is started with the first study. Where it is killed, as systems do that run out of memory, that study fails with
    a sentence, and the next one gets a new process. It ends with the process that made it, however that ends.

    Args:
        longest_s: seconds after which a prediction is given up.
    """

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self.longest_s = longest_s
        self._turn = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        self._processes: list[BaseProcess] = []
        self._ended = False

    def __call__(self, films: Sequence[str], folder: str, checkpoint: str, options: Mapping[str, Any]) -> str:
        """Predict one study as `export.infer_study` does, after those that were asked for before.

        Args:
            films: as in `infer_study`, like the three that follow.
            folder: folder of the files.
            checkpoint: the model file.
            options: keys of inference.json.

        Returns:
            The CT as NIfTI.

        Raises:
            InputError: where the films cannot be read, or the process dies or takes too long.
        """
        with self._turn:
            try:
                running = self._ready().submit(_work, list(films), folder, checkpoint, dict(options))
                return running.result(self.longest_s)
            except BrokenProcessPool as error:
                self._end()
                raise RequestError(
                    "the process that predicts was ended, as where memory runs out; send the request again", 503
                ) from error
            except LateError as error:
                self._end()
                raise RequestError(
                    f"the prediction took more than {self.longest_s:g} s and was given up", 503
                ) from error

    def start(self) -> None:
        """Start the process before the first study needs it, since it takes seconds to load."""
        with self._turn, suppress(RequestError, BrokenProcessPool):  # the first study gets the sentence
            self._ready()

    def close(self) -> None:
        """End the process for good; the study that is being predicted, and those that wait, fail."""
        self._ended = True
        self._kill()

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _ready(self) -> ProcessPoolExecutor:
        if self._ended:
            raise RequestError("the server is ending; send the request again later", 503)
        if self._pool is None:
            others = multiprocessing.active_children()
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin)
            self._pool.submit(os.getpid)  # starts it
            self._processes = [child for child in multiprocessing.active_children() if child not in others]
        return self._pool

    def _end(self) -> None:
        self._kill()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool, self._processes = None, []


def _begin() -> None:
    """Prepare the process: it ends with its parent, and leaves Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _work(films: list[str], folder: str, checkpoint: str, options: dict[str, Any]) -> str:
    """Predict one study; what fails comes back without the patient's data that a foreign message may hold."""
    try:
        return str(infer_study(films, folder, checkpoint, page=False, **options))
    except InputError as error:
        raise InputError(str(error)) from None
    except Exception as error:  # its message may name the patient
        raise RuntimeError(f"predicting failed with {type(error).__name__}; run inferring on the films") from None
