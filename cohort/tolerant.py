"""Load cases so that an unreadable one does not end the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from monai.data import DataLoader
from torch.utils.data import Dataset

from conventions import InputError, Keys, input_error_in

logger = logging.getLogger("x2ct.cohort")


class TolerantDataset(Dataset):
    """A dataset whose unreadable items hold a sentence, `problem`, instead of data.

    A dataset of one item raises the error, as a command with one input should. Errors other than `InputError` are
    always raised.

    Args:
        data: items with `case`, and `problem` where it is known that they cannot be used.
        transform: transform that reads an item.

    Raises:
        InputError: where two items have the same name.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.data = list(data)
        self.transform = transform
        names = [item[Keys.CASE] for item in self.data]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"the results of two inputs would both be named {twice[0]!r}; rename one of them")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read one item, or return its name and the sentence that explains why it cannot be used."""
        item = self.data[index]
        try:
            if Keys.PROBLEM in item:
                raise InputError(item[Keys.PROBLEM])
            return self.transform(dict(item))
        except Exception as error:
            sentence = input_error_in(error)
            if sentence is None or len(self.data) == 1:
                raise
            return {Keys.CASE.value: str(item[Keys.CASE]), Keys.PROBLEM.value: sentence}


class TolerantLoader:
    """A loader that yields the readable items of a `TolerantDataset` in batches of one and skips the others.

    `problems` maps each case that was skipped to the sentence that explains why.

    Args:
        dataset: dataset to load from.
        num_workers: number of worker processes; 0 reads in this process.
    """

    batch_size = 1
    """Number of items in a batch."""

    def __init__(self, dataset: TolerantDataset, num_workers: int = 0) -> None:
        self.dataset = dataset
        self.loader = DataLoader(dataset, batch_size=1, num_workers=num_workers)
        self.problems: dict[str, str] = {}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the readable items."""
        self.problems = {}
        for batch in self.loader:
            if Keys.PROBLEM in batch:
                case, sentence = batch[Keys.CASE][0], batch[Keys.PROBLEM][0]
                self.problems[case] = sentence
                logger.warning("%s is left out: %s", case, sentence)
                continue
            yield batch
