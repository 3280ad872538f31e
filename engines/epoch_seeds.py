"""What is random in an epoch follows from the seed and the number of the epoch."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events


class EpochSeeds:
    """Handler that seeds torch, numpy and python at the start of every epoch, and tells the sampler its number.

    So a run that was stopped between two epochs goes on as if it had not been: there is no random state to carry along.
    Listed first, before whatever draws.

    Args:
        seed: of the run.
        sampler: has `set_epoch`, for example `cohort.EpochSampler`; None where there is none.
        rank: number of this process; dropout differs between them.
    """

    def __init__(self, seed: int, sampler: Any = None, rank: int = 0) -> None:
        self.seed = seed
        self.sampler = sampler
        self.rank = rank

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed the epoch."""
        epoch = engine.state.epoch
        seed = int(np.random.SeedSequence([self.seed, epoch, self.rank]).generate_state(1)[0])
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (whatever uses the global generator)
        random.seed(seed)
        if self.sampler is not None:
            self.sampler.set_epoch(epoch)
