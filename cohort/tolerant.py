"""Items one after the other, of which a bad one does not end the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import IterableDataset

from conventions import InputError, Keys, input_error_in

logger = logging.getLogger("x2ct.cohort")

FILMS = "films"
"""Of the meta of an image: what its films looked like, for reports; not for batches."""


class TolerantDataset(IterableDataset):
    """Items that were read, in order; what could not be read is kept as a sentence.

    A run with a single item ends on its error at once, as a command with one input should.

    Args:
        data: items with `case`, and `problem` where they cannot be used.
        transform: reads an item.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.data = list(data)
        self.transform = transform
        self.problems: dict[str, str] = {}
        self.films: dict[str, list[Any]] = {}
        names = [item[Keys.CASE] for item in self.data]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"two inputs would be written as {twice[0]!r}; name them differently")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.problems, self.films = {}, {}
        for item in self.data:
            case = str(item[Keys.CASE])
            try:
                if "problem" in item:
                    raise InputError(item["problem"])
                read = self.transform(dict(item))
            except Exception as error:
                sentence = input_error_in(error)
                if sentence is None or len(self.data) == 1:
                    raise
                self.problems[case] = sentence
                logger.warning("%s is left out: %s", case, sentence)
                continue
            meta = getattr(read[Keys.IMAGE], "meta", {})
            self.films[case] = meta.pop(FILMS, [])
            yield read
