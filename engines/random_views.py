"""Train a network on other numbers of views than it is validated with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.engines.utils import PrepareBatch
from torch import Tensor

from .steps import WITH_GEOMETRY


class RandomViews(PrepareBatch):
    """Prepare a batch with some of its views, drawn again for each batch.

    First their number is drawn, then which: the first ones, or any. Their order is drawn too. The numbers come from
    PyTorch's generator, so a run that is resumed draws the same.

    Args:
        shares: share of the batches with one view, with two views, and so on.
        first: share of the batches that have the first views, such as PA and lateral; the others have any.

    Raises:
        ValueError: where shares are negative or all zero.
    """

    def __init__(self, shares: Sequence[float], first: float = 0.5) -> None:
        self.shares = torch.tensor([float(share) for share in shares])
        if not bool((self.shares >= 0).all()) or not float(self.shares.sum()) > 0:
            raise ValueError(f"shares must not be negative, and some positive, got {list(shares)}")
        self.first = first

    def __call__(
        self,
        batchdata: dict[str, Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Prepare a batch as `PrepareBatchExtraInput` does, with `image` and `geometry` of the drawn views."""
        image, label, args, extra = WITH_GEOMETRY(batchdata, device, non_blocking, **kwargs)
        chosen = self.draw(image.shape[1])
        return image[:, chosen], label, args, {name: value[:, chosen] for name, value in extra.items()}

    def draw(self, views: int) -> Tensor:
        """Draw the numbers of some of `views` views."""
        count = int(torch.multinomial(self.shares[:views], 1)) + 1
        order = torch.randperm(views)
        if float(torch.rand(())) < self.first:
            order = order[order < count]
        return order[:count]
