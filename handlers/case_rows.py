"""Collect figures of each case of an evaluation and hand them to the evaluator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.utils import evenly_divisible_all_gather

from metrics import PREDICTIONS


class CaseRows:
    """Rows of figures, one for each case and prediction.

    Args:
        names: names of the figures, keys of `metrics.MEASURES`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._rows: dict[str, list[list[float]]] = {}

    def attach(self, engine: Engine, collect: Callable[[Engine], None]) -> None:
        """Register with an evaluator: begin without cases, collect after each batch, publish in the end.

        Args:
            engine: the evaluator.
            collect: function that adds the cases of a batch.
        """
        engine.add_event_handler(Events.STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.publish)

    def _clear(self, engine: Engine) -> None:
        self._rows = {}

    def add(self, key: str, figures: Mapping[str, float]) -> None:
        """Add a case.

        Args:
            key: the prediction that was measured, one of `metrics.PREDICTIONS`.
            figures: name -> value, NaN where it could not be measured.
        """
        self._rows.setdefault(key, []).append([figures[name] for name in self.names])

    def publish(self, engine: Engine) -> None:
        """Put the cases of all processes into `state.metric_details`, and their means into `state.metrics`."""
        for key, rows in self._rows.items():
            values: Any = evenly_divisible_all_gather(torch.tensor(rows, device=idist.device())).cpu()
            for column, name in enumerate(self.names):
                metric = name if key == PREDICTIONS[0] else f"{name}/{key}"
                engine.state.metrics[metric] = float(values[:, column].nanmean())
                engine.state.metric_details[metric] = values[:, column : column + 1]


def volume_in(output: Mapping[Any, Any], key: str) -> torch.Tensor:
    """Return a volume (1, D, H, W) of a decollated output as a plain tensor (1, 1, D, H, W), float32."""
    return torch.as_tensor(output[key]).as_subclass(torch.Tensor)[None].float()
