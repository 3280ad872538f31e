"""Keep the CTs of a training on its grid as arrays in files, so that they are resampled once for all runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import Dataset, MetaTensor
from monai.transforms import Compose

from conventions import Keys
from storage import key_of, write_atomically, write_json
from transforms import ResampleToGridd

FORM = 1
"""Number of this form of arrays; those of another are made again."""


class ArrayDataset(Dataset):
    """A dataset that keeps each CT on the training grid as one uncompressed int16 .npy file, mapped into memory.

    The transforms up to `ResampleToGridd` run once for each CT; what follows, ray casting and augmentation among it,
    runs on every access. HU are rounded to whole ones. A file belongs to the CT (its path, size and time of change),
    the grid and the anchor, so several runs and processes share a folder.

    Args:
        data: items from `load_datalist`, whose `label` is the path of a CT.
        transform: transform of an item, with one `ResampleToGridd`, as `transforms.case_transforms` makes it.
        folder: folder of the arrays; it is made where it does not exist.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Compose, folder: str | os.PathLike[str]) -> None:
        super().__init__(data, transform)
        self.folder = Path(folder)
        [place] = [i for i, stage in enumerate(transform.transforms) if isinstance(stage, ResampleToGridd)]
        resample = transform.transforms[place].transform
        self._grid = f"{FORM} {resample.grid!r} {resample.anchor}"
        self._to_grid = Compose(transform.transforms[: place + 1])
        self._rest = Compose(transform.transforms[place + 1 :])

    def _transform(self, index: int) -> Any:
        item = dict(self.data[index])
        item[Keys.LABEL] = self._volume(item)
        return self._rest(item)

    def _volume(self, item: Mapping[str, Any]) -> MetaTensor:
        """Return the CT of an item on the grid, (1, D, H, W) float32 HU with its affine."""
        source = Path(item[Keys.LABEL])
        stated = source.stat() if source.exists() else None
        key = key_of(f"{self._grid} {source.resolve()} {stated and (stated.st_size, stated.st_mtime_ns)}")
        array, place = self.folder / f"{key}.npy", self.folder / f"{key}.json"
        try:
            hu = np.load(array, mmap_mode="r")
            affine = np.array(json.loads(place.read_text(encoding="utf-8"))["affine"])
        except (OSError, ValueError, KeyError):  # not there yet, or damaged
            volume = self._to_grid(item)[Keys.LABEL]
            hu, affine = np.rint(volume.numpy()).astype(np.int16), volume.affine.numpy()
            write_json(place, {"affine": affine.tolist()})
            write_atomically(array, lambda part: np.save(part, hu))
        return MetaTensor(torch.from_numpy(hu.astype(np.float32)), affine=torch.from_numpy(affine))
