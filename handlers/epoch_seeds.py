"""Seed every epoch from the seed of the run and the number of the epoch."""

from __future__ import annotations

import random
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events


class EpochSeeds:
    """Handler that seeds torch, numpy and Python at the start of every epoch, and passes its number to the sampler.

    A run that was stopped between two epochs therefore continues as if it had not been, without a random state in its
    file. With several processes, each draws its own numbers. List it first, before all handlers that draw.

    Args:
        seed: seed of the run.
        sampler: has `set_epoch`, for example `cohort.EpochSampler`; None where there is none.
    """

    def __init__(self, seed: int, sampler: Any = None) -> None:
        self.seed = seed
        self.sampler = sampler

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the epoch."""
        epoch = engine.state.epoch
        seed = int(np.random.SeedSequence([self.seed, epoch, idist.get_rank()]).generate_state(1)[0])
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (libraries use the global generator)
        random.seed(seed)
        if self.sampler is not None:
            self.sampler.set_epoch(epoch)
