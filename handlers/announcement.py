"""Announce what a training run will do and how long it will take."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from engines import bare

from .memory import count_parameters, expected_bytes

logger = logging.getLogger("x2ct.training")

STEPS_TO_TIME = 3
"""Number of steps that are timed, after a first one that warms up."""


class Announcement:
    """Handler of a trainer that logs its plan and, after some steps, the time per epoch, the memory and the end.

    At the end it logs which share of the time was spent waiting for data. With several processes, the first one logs.

    Args:
        train_data: training items.
        val_data: validation items.
        output_dir: folder of the results, named in the log.
        ckpt_dir: folder of the models, named in the log.
    """

    def __init__(self, train_data: Sequence[Any], val_data: Sequence[Any], output_dir: str, ckpt_dir: str) -> None:
        self.train_data = train_data
        self.val_data = val_data
        self.output_dir = output_dir
        self.ckpt_dir = ckpt_dir
        self.waited = 0.0
        self.began = self.asked = self.timed = 0.0
        self.steps = 0

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
            engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._receive)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._say_when)
            engine.add_event_handler(Events.COMPLETED, self._say_how_long)

    def _start(self, engine: Any) -> None:
        self._say_what(engine)
        logger.info(
            "epochs %d to %d of %d steps each; models are written to %s, all else to %s",
            engine.state.epoch + 1,
            engine.state.max_epochs,
            engine.state.epoch_length,
            self.ckpt_dir,
            self.output_dir,
        )
        self.steps, self.waited = 0, 0.0
        self.began = time.monotonic()

    def _say_what(self, engine: Any) -> None:
        network = bare(engine.network)
        adversary = engine.adversary
        judged = "without a discriminator"
        if adversary is not None:
            judged = f"with a discriminator of {count_parameters(bare(adversary.discriminator)) / 1e6:.1f} M"
        logger.info(
            "training %s, %.1f M parameters, %s, on %s: %d cases, %d for validation",
            getattr(network, "spec", {}).get("name", type(network).__name__),
            count_parameters(network) / 1e6,
            judged,
            engine.state.device,
            len(self.train_data),
            len(self.val_data),
        )

    def _say_memory(self, engine: Any) -> None:
        size = expected_bytes(engine, engine.state.batch)
        logger.info("memory: a step needs about %.1f GiB on top of torch and the cases", size / 2**30)

    def _ask(self, engine: Engine) -> None:
        self.asked = time.monotonic()

    def _receive(self, engine: Any) -> None:
        self.waited += time.monotonic() - self.asked
        if self.steps == 0:
            self._say_memory(engine)

    def _say_when(self, engine: Any) -> None:
        self.steps += 1
        if self.steps == 1:
            self.timed = time.monotonic()
        if self.steps == 1 + STEPS_TO_TIME:
            step = (time.monotonic() - self.timed) / STEPS_TO_TIME
            left = (engine.state.max_epochs * engine.state.epoch_length - engine.state.iteration) * step
            logger.info(
                "a step takes %.1f s, an epoch %s, the run until about %s; peak memory so far %.1f GiB",
                step,
                timedelta(seconds=round(step * engine.state.epoch_length)),
                (datetime.now() + timedelta(seconds=left)).strftime("%Y-%m-%d %H:%M"),
                _peak_bytes(engine.state.device) / 2**30,
            )

    def _say_how_long(self, engine: Engine) -> None:
        took = time.monotonic() - self.began
        logger.info(
            "done in %s; %.1f %% of it was waiting for data",
            timedelta(seconds=round(took)),
            100 * self.waited / max(took, 1e-9),
        )


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
