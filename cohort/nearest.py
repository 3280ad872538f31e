"""Find the training case whose radiographs are nearest: the prediction of a model that copies what it has seen."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from tqdm import tqdm

from conventions import Keys
from metrics import nearest_image

from .datalist import load_datalist
from .sampling import place_in_group


class NearestCase:
    """The volume of the training case whose radiographs are nearest to given ones, by their mean squared difference.

    All training CTs are read and rendered at the first call; their radiographs alone are kept, and the volume that is
    nearest is read again.

    Args:
        manifest: manifest with a training fold.
        transform: item -> item with `image` (views, rows, columns) and the volume (1, D, H, W) under `label`.

    Raises:
        InputError: as in `load_datalist`.
    """

    def __init__(
        self, manifest: str | os.PathLike[str], transform: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> None:
        self.items = load_datalist(manifest, "train")
        self.transform = transform
        self._images: torch.Tensor | None = None

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Find the nearest volumes.

        Args:
            image: (B, views, rows, columns), rendered as those of the training cases.

        Returns:
            (B, 1, D, H, W), in the unit that the transform yields, on the device of the images.
        """
        if self._images is None:
            quiet = place_in_group(None, None)[0] > 0
            cases = tqdm(self.items, desc="radiographs of training cases", unit="case", disable=quiet)
            self._images = torch.stack([self._read(item, Keys.IMAGE) for item in cases])
        chosen = [nearest_image(one, self._images) for one in image.cpu()]
        return torch.stack([self._read(self.items[number], Keys.LABEL) for number in chosen]).to(image.device)

    def _read(self, item: Mapping[str, Any], key: str) -> torch.Tensor:
        return torch.as_tensor(self.transform(item)[key]).as_subclass(torch.Tensor).cpu()
