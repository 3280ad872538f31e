"""What a training run is going to do, and how long it will take, said before and soon after it starts."""

from __future__ import annotations

import copy
import logging
import resource
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import torch
from ignite.engine import Engine, Events

from conventions import Keys

from .distributed import bare

logger = logging.getLogger("x2ct.training")

STEPS_TO_TIME = 3
"""After the first step, which warms up, the next ones tell how long an epoch takes."""

WEIGHT_BYTES = 16
"""Of a parameter in training: itself, its gradient and two moments of Adam, float32."""


class Announcement:
    """Handler that logs what is going to be done, then, after some steps, the time of an epoch, the memory and the end.

    At the end it logs how much of the time went into waiting for data.

    Args:
        train_data: the training items.
        val_data: the validating items.
        output_dir: where things are written, to be named.
    """

    def __init__(self, train_data: Sequence[Any], val_data: Sequence[Any], output_dir: str) -> None:
        self.train_data = train_data
        self.val_data = val_data
        self.output_dir = output_dir
        self.waited = 0.0
        self.began = self.asked = self.timed = 0.0
        self.steps = 0

    def attach(self, engine: Engine) -> None:
        """Register with the trainer."""
        engine.add_event_handler(Events.STARTED, self._say_what)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._get)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._say_when)
        engine.add_event_handler(Events.COMPLETED, self._say_how)

    def _say_what(self, engine: Any) -> None:
        network = bare(engine.network)
        adversary = engine.adversary
        judged = "without a discriminator"
        if adversary is not None:
            judged = f"with a discriminator of {_count(bare(adversary.discriminator)) / 1e6:.1f} M"
        logger.info(
            "training %s, %.1f M parameters, %s, on %s: %d cases, %d for validation",
            getattr(network, "spec", {}).get("name", type(network).__name__),
            _count(network) / 1e6,
            judged,
            engine.state.device,
            len(self.train_data),
            len(self.val_data),
        )
        self._say_where(engine)

    def _say_where(self, engine: Any) -> None:
        logger.info(
            "epochs %d to %d of %d steps each; everything is written to %s",
            engine.state.epoch + 1,
            engine.state.max_epochs,
            engine.state.epoch_length,
            self.output_dir,
        )
        self.steps, self.waited = 0, 0.0
        self.began = time.monotonic()

    def _ask(self, engine: Engine) -> None:
        self.asked = time.monotonic()

    def _get(self, engine: Any) -> None:
        self.waited += time.monotonic() - self.asked
        if self.steps == 0:
            size = expected_bytes(engine, engine.state.batch[Keys.IMAGE], engine.state.batch[Keys.LABEL])
            logger.info("memory: a step needs about %.1f GiB beside torch and the cases", size / 2**30)

    def _say_when(self, engine: Any) -> None:
        self.steps += 1
        if self.steps == 1:
            self.timed = time.monotonic()
        if self.steps == 1 + STEPS_TO_TIME:
            step = (time.monotonic() - self.timed) / STEPS_TO_TIME
            left = (engine.state.max_epochs * engine.state.epoch_length - engine.state.iteration) * step
            logger.info(
                "a step takes %.1f s, an epoch %s, all of it until about %s; memory so far %.1f GiB",
                step,
                timedelta(seconds=round(step * engine.state.epoch_length)),
                (datetime.now() + timedelta(seconds=left)).strftime("%Y-%m-%d %H:%M"),
                _peak_bytes(engine.state.device) / 2**30,
            )

    def _say_how(self, engine: Engine) -> None:
        took = time.monotonic() - self.began
        logger.info(
            "done in %s; %.1f %% of it was waiting for data",
            timedelta(seconds=round(took)),
            100 * self.waited / max(took, 1e-9),
        )


class TranslationAnnouncement(Announcement):
    """The same for a training of translators between films and radiographs of CTs.

    Args:
        films: the films.
        cases: the CTs.
        output_dir: where things are written, to be named.
    """

    def __init__(self, films: Sequence[Any], cases: Sequence[Any], output_dir: str) -> None:
        super().__init__(films, cases, output_dir)

    def _say_what(self, engine: Any) -> None:
        logger.info(
            "training a translator of %.1f M parameters on %s: %d films, %d CTs",
            _count(bare(engine.network)) / 1e6,
            engine.state.device,
            len(self.train_data),
            len(self.val_data),
        )
        self._say_where(engine)

    def _get(self, engine: Any) -> None:
        self.waited += time.monotonic() - self.asked


def expected_bytes(trainer: Any, image: torch.Tensor, label: torch.Tensor) -> int:
    """What a step will need in float32: weights, gradients and moments, and what is kept for the way back.

    Counted on torch's meta device, on which nothing is computed.

    Args:
        trainer: an `X2CTTrainer`.
        image: radiographs of a batch (B, views, rows, columns).
        label: its volumes (B, 1, D, H, W).
    """
    network = copy.deepcopy(bare(trainer.network)).to("meta")
    weights, kept = _count(network), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        volume = network(torch.empty(image.shape, device="meta"))
        if trainer.adversary is not None:
            judge = copy.deepcopy(bare(trainer.adversary.discriminator)).to("meta")
            weights += _count(judge)
            shown = trainer.adversary.seen(torch.empty(image.shape, device="meta"), volume)[0]
            judge.requires_grad_(False)(shown)
    return WEIGHT_BYTES * weights + sum(kept.values())


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
