"""Draw the order of cases and their random transforms from seed, epoch and case alone, so that runs can be resumed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import ignite.distributed as idist
import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from conventions import InputError, Keys

Item = TypeVar("Item")


def place_in_group(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return the number of this process and the number of processes, as given or as the process group has them."""
    return (idist.get_rank() if rank is None else rank, idist.get_world_size() if world_size is None else world_size)


class EpochSampler(Sampler[tuple[int, int]]):
    """A sampler that shuffles the cases of each epoch from the seed and the number of the epoch alone.

    With several processes, each gets every n-th case of the same order; the order is padded from its start so that
    all get the same number.

    Args:
        length: number of cases.
        seed: seed of all orders.
        rank: number of this process; None asks the process group.
        world_size: number of processes; None asks the process group.
        batch_size: batch size of each process, checked against the number of cases.

    Raises:
        InputError: where the batches of all processes together hold more than all cases.
    """

    def __init__(
        self, length: int, seed: int = 0, rank: int | None = None, world_size: int | None = None, batch_size: int = 1
    ) -> None:
        rank, world_size = place_in_group(rank, world_size)
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
        """Set the next epoch, from 1."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over (epoch, number of the case) in the order of the epoch."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        order = np.resize(order, len(self) * self.world_size)
        return iter([(self.epoch, int(index)) for index in order[self.rank :: self.world_size]])

    def __len__(self) -> int:
        return -(-self.length // self.world_size)


class SeededDataset(Dataset):
    """A dataset whose random transforms draw from (seed, epoch, case).

    A case therefore looks the same whichever worker reads it, and a resumed run sees what it would have seen. Items
    are indexed by the pairs that `EpochSampler` yields.

    Args:
        dataset: a MONAI dataset with `data` and `transform`, whose items hold `case`.
        seed: seed of everything random.
    """

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.dataset = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: tuple[int, int]) -> Any:
        """Load the item at (epoch, number of the case)."""
        epoch, index = place
        case = zlib.crc32(str(self.dataset.data[index][Keys.CASE]).encode())
        seed = int(np.random.SeedSequence([self.seed, epoch, case]).generate_state(1)[0])
        self.dataset.transform.set_random_state(seed)
        with torch.random.fork_rng(devices=[]):  # some transforms use torch's generator, and so does the network
            torch.manual_seed(seed)
            return self.dataset[index]


def share_of_process(items: Sequence[Item], rank: int | None = None, world_size: int | None = None) -> Sequence[Item]:
    """Return the items that one process evaluates: consecutive ones, so that all shares in order are the whole.

    Where there are fewer items than processes, each process gets all of them, so that none is idle and means are exact.

    Args:
        items: cases, or their numbers.
        rank: number of this process; None asks the process group.
        world_size: number of processes; None asks the process group.
    """
    rank, world_size = place_in_group(rank, world_size)
    if len(items) < world_size:
        return items
    return items[len(items) * rank // world_size : len(items) * (rank + 1) // world_size]
