"""Which case comes when, and what is random in it: both follow from seed, epoch and case; nothing is carried along."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from conventions import InputError, Keys

Item = TypeVar("Item")


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffles the cases anew in every epoch, from the seed and the number of the epoch alone.

    With several processes each gets every n-th case of the same order; the order is filled up from its start so that
    all get as many.

    Args:
        length: number of cases.
        seed: of all orders.
        rank: number of this process.
        world_size: number of processes.
        batch_size: of each process, to be held against the number of cases.

    Raises:
        InputError: where a batch would hold more than all cases.
    """

    def __init__(self, length: int, seed: int = 0, rank: int = 0, world_size: int = 1, batch_size: int = 1) -> None:
        if batch_size * world_size > length:
            processes = f" in each of {world_size} processes" if world_size > 1 else ""
            raise InputError(
                f"batch_size {batch_size}{processes} is more than the {length} training cases; give a --batch_size of "
                f"{max(1, length // world_size)} at most, or more cases"
            )
        self.length = length
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, from 1."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """(epoch, number of the case), in the order of the epoch."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        order = np.resize(order, len(self) * self.world_size)
        return iter([(self.epoch, int(index)) for index in order[self.rank :: self.world_size]])

    def __len__(self) -> int:
        return -(-self.length // self.world_size)


class SeededDataset(Dataset):
    """A MONAI dataset whose random transforms draw from (seed, epoch, case).

    So a case looks the same whichever worker reads it, and a run that was resumed sees what it would have seen. Items
    are asked for by what `EpochSampler` gives.

    Args:
        dataset: one of MONAI's with `data` and `transform`, whose items hold `case`.
        seed: of everything random.
    """

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: tuple[int, int]) -> Any:
        """The item (epoch, number of the case)."""
        epoch, index = place
        case = zlib.crc32(str(self.dataset.data[index][Keys.CASE]).encode())
        seed = int(np.random.SeedSequence([self.seed, epoch, case]).generate_state(1)[0])
        self.dataset.transform.set_random_state(seed)
        with torch.random.fork_rng(devices=[]):  # for transforms that draw from torch; the network's draws go on
            torch.manual_seed(seed)
            return self.dataset[index]


def share_of_process(items: Sequence[Item], rank: int = 0, world_size: int = 1) -> Sequence[Item]:
    """What one process of several evaluates: a run of neighbours, so that all parts in order are the whole in order.

    Where there are fewer items than processes, each gets all of them: none waits without an item, and means are true.

    Args:
        items: cases, or their numbers.
        rank: number of this process.
        world_size: number of processes.
    """
    if len(items) < world_size:
        return items
    return items[len(items) * rank // world_size : len(items) * (rank + 1) // world_size]
