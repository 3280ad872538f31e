"""Keep earlier generated images for the discriminator."""

from __future__ import annotations

import random
from typing import Any

import torch


class ImagePool:
    """A mix of new and earlier images for the discriminator (Shrivastava et al. 2017), in any number of dimensions.

    While it is not full, an image is kept and shown. After that, one time in two, an earlier image is shown in its
    place and the new one kept. It has a random generator of its own, so that a run can be resumed.

    Args:
        size: number of images to keep; 0 shows every image as it is.
        seed: seed of the draws.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self.random = random.Random(seed)
        self.images: list[torch.Tensor] = []

    def query(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images to show, and keep some of the new ones.

        Args:
            images: (B, channels, *size), without gradients.

        Returns:
            The same number of images, new or earlier ones.
        """
        if self.size == 0:
            return images
        return torch.stack([self._one(image) for image in images])

    def _one(self, image: torch.Tensor) -> torch.Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if self.random.uniform(0, 1) <= 0.5:
            return image
        place = self.random.randint(0, self.size - 1)
        shown, self.images[place] = self.images[place], image.clone()
        return shown

    def state_dict(self) -> dict[str, Any]:
        """Return the images and the random generator, as tensors and numbers."""
        version, numbers, _ = self.random.getstate()
        return {"images": list(self.images), "version": version, "numbers": list(numbers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the point at which `state_dict` was called."""
        self.images = list(state["images"])
        self.random.setstate((state["version"], tuple(state["numbers"]), None))
