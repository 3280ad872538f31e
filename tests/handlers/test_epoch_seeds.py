"""What is random in an epoch follows from the seed of the run, the number of the epoch and the process."""

import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from cohort import EpochSampler
from handlers import EpochSeeds
from tests.processes import in_processes


def draws(seed, epochs=2, start=0):
    """Numbers of all three generators in each epoch, and the number that the sampler is at."""
    found, sampler = [], EpochSampler(4)

    def update(engine, _batch):
        numbers = [float(torch.rand(())), float(np.random.rand()), random.random()]  # noqa: NPY002 (what is seeded)
        found.append([sampler.epoch, *numbers])

    engine = Engine(update)
    EpochSeeds(seed, sampler).attach(engine)
    if start:
        engine.load_state_dict({"epoch": start, "epoch_length": 1, "max_epochs": epochs})
    engine.run([0], max_epochs=epochs)
    return found


def test_an_epoch_draws_the_same_in_a_resumed_run():
    whole = draws(0, epochs=3)
    assert [epoch for epoch, *_ in whole] == [1, 2, 3]
    assert draws(0, epochs=3, start=2) == whole[2:]
    numbers = [number for _, *drawn in [*whole, *draws(1)] for number in drawn]
    assert len(set(numbers)) == len(numbers) == 15


def test_each_process_draws_its_own(tmp_path):
    in_processes(lambda rank: torch.save(draws(0), tmp_path / f"{rank}.pt"))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first == draws(0)
    for (epoch, *ours), (other_epoch, *others) in zip(first, second, strict=True):
        assert epoch == other_epoch
        assert all(a != pytest.approx(b) for a, b in zip(ours, others, strict=True))
