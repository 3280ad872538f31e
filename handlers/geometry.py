"""Find the views of a case, and the agreement of its volume with its films."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from conventions import Keys


def geometry_of(item: Mapping[Any, Any]) -> torch.Tensor | None:
    """Return the views of one item of a decollated batch, (views, 4, 3) in mm, LPS, on the CPU; None if it has none."""
    geometry = item.get(Keys.GEOMETRY)
    return None if geometry is None else torch.as_tensor(geometry).as_subclass(torch.Tensor).cpu()


def agreement_of(output: Mapping[Any, Any]) -> dict[str, Any] | None:
    """Return how well the volume of one decollated output agrees with its films; None where it was not updated."""
    text = output.get(Keys.CONSISTENCY)
    return None if text is None else dict(json.loads(text))
