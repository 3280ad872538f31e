"""Find the views of a case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from conventions import Keys


def geometry_of(item: Mapping[Any, Any]) -> torch.Tensor | None:
    """Return the views of one item of a decollated batch, (views, 4, 3) in mm, LPS, on the CPU; None if it has none."""
    geometry = item.get(Keys.GEOMETRY)
    return None if geometry is None else torch.as_tensor(geometry).as_subclass(torch.Tensor).cpu()
