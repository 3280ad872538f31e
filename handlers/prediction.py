"""Predict a volume once more within an evaluation, from other radiographs than those of its batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from conventions import Keys

from .case_rows import volume_in


def predict_item(engine: Any, item: Mapping[str, Any], postprocessing: Callable[[Any], Any]) -> torch.Tensor:
    """Predict the volume of an item as the evaluator predicts those of its batches.

    Args:
        engine: the evaluator, in the mode in which its network predicts.
        item: `image` (views, rows, columns), `geometry` (views, 4, 3) and what else the postprocessing reads.
        postprocessing: transform of such an item with `pred` that brings `pred` to HU, the evaluator's own.

    Returns:
        (1, 1, D, H, W) in HU.
    """
    device = engine.state.device
    image, geometry = (
        torch.as_tensor(item[key]).as_subclass(torch.Tensor).to(device)[None] for key in (Keys.IMAGE, Keys.GEOMETRY)
    )
    predicted = engine.inferer(image, engine.network, geometry=geometry)
    shown = {**item, Keys.IMAGE.value: image[0], Keys.GEOMETRY.value: geometry[0], Keys.PRED.value: predicted[0]}
    return volume_in(postprocessing(shown), Keys.PRED)
