"""Show cases of every validation in TensorBoard."""

from __future__ import annotations

import os
from typing import Any

import ignite.distributed as idist
import numpy as np
from ignite.engine import Engine, Events
from monai.utils import convert_to_numpy
from torch.utils.tensorboard import SummaryWriter

from conventions import Keys
from reports import case_figure

from .geometry import geometry_of


class TensorBoardCases:
    """Handler of the validating engine that shows its first cases: radiographs, truth, prediction and difference.

    Volumes are expected in HU, so the engine's postprocessing has run. With several processes, the first one draws.

    Args:
        log_dir: folder of TensorBoard.
        cases: number of cases to show.
    """

    def __init__(self, log_dir: str | os.PathLike[str], cases: int = 1) -> None:
        self.log_dir = str(log_dir)
        self.cases = cases
        self.writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Register with the validating engine."""
        if idist.get_rank() == 0:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of one decollated batch that are among the first."""
        first = (engine.state.iteration - 1) % (engine.state.epoch_length or 1) * len(engine.state.output)
        for number, (item, output) in enumerate(zip(engine.state.batch, engine.state.output, strict=True), start=first):
            if number >= self.cases:
                return
            if self.writer is None:
                self.writer = SummaryWriter(self.log_dir)
            image, prediction, truth = (
                convert_to_numpy(output[key], dtype=np.float32) for key in (Keys.IMAGE, Keys.PRED, Keys.LABEL)
            )
            title = str(item.get(Keys.CASE, number))
            figure = case_figure(image, prediction[0], truth[0], title, geometry=geometry_of(item))
            self.writer.add_figure(f"validation/{number}", figure, engine.state.epoch)
            self.writer.flush()
