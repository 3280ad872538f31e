"""Draw each case of an evaluation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import convert_to_numpy

from conventions import Keys
from drr import Acquisition
from export import write_png16
from reports import draw_agreement, draw_case
from storage import set_aside

from .geometry import agreement_of, geometry_of
from .own_cases import OwnCases


class CaseFigures:
    """Handler of an evaluator that draws each case and keeps its radiographs as 16-bit PNG files.

    `<case>.png` shows the radiographs and three planes of truth, prediction and difference; `<case>_agreement.png` the
    films next to the radiographs of the CT, where the CT was updated to agree with them. Volumes are expected in HU,
    so the evaluator's postprocessing has run. Files of an earlier run are renamed. Several processes each draw their
    own cases; where there are fewer cases than processes, so that all have the same, the first process draws them.

    Args:
        output_dir: folder of the figures.
        acquisition: how the radiographs were made, for their file names and for what these files say about themselves.
        radiographs_dir: folder of the radiographs alone, `<case>_<view>.png`, which can be read back; None keeps none.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        acquisition: Acquisition,
        radiographs_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.acquisition = acquisition
        self.radiographs_dir = None if radiographs_dir is None else Path(radiographs_dir)
        self.own_cases = OwnCases()

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Draw the cases of one decollated batch."""
        if self.own_cases.asked(engine, str(engine.state.batch[0][Keys.CASE])):
            for item, output in zip(engine.state.batch, engine.state.output, strict=True):
                self._draw(str(item[Keys.CASE]), item, output)

    def _draw(self, case: str, item: Any, output: Any) -> None:
        image, prediction = (convert_to_numpy(output[key], dtype=np.float32) for key in (Keys.IMAGE, Keys.PRED))
        truth = convert_to_numpy(output[Keys.LABEL], dtype=np.float32)[0] if Keys.LABEL in output else None
        path, title = self.output_dir / f"{case}.png", f"{case}: synthetic CT from radiographs"
        set_aside(path)
        draw_case(path, image, prediction[0], truth, title, geometry_of(item), expected_error_of(output))
        draw_agreement_of(self.output_dir, case, item, output)
        if self.radiographs_dir is not None:
            for view, pixels in zip(self.acquisition.view_names, image, strict=True):
                write_png16(
                    self.radiographs_dir / f"{case}_{view}.png", pixels, {**self.acquisition.record(), "view": view}
                )


def expected_error_of(output: Any) -> np.ndarray | None:
    """Return the expected error (D, H, W) in HU of one decollated output; None where it was not estimated."""
    if Keys.EXPECTED_ERROR not in output:
        return None
    error: np.ndarray = convert_to_numpy(output[Keys.EXPECTED_ERROR], dtype=np.float32)[0]
    return error


def draw_agreement_of(folder: Path, case: str, item: Any, output: Any) -> None:
    """Draw `<case>_agreement.png` where the volume was updated to agree with its films.

    Args:
        folder: folder of the figure; a file of an earlier run is renamed.
        case: name of the case.
        item: its item of the decollated batch.
        output: its item of the decollated output.
    """
    agreement = agreement_of(output)
    if agreement is None:
        return
    path = folder / f"{case}_agreement.png"
    set_aside(path)
    lines = convert_to_numpy(output[Keys.LINE_INTEGRALS], dtype=np.float32)
    draw_agreement(path, lines, agreement, geometry_of(item), f"{case}: agreement of the synthetic CT with its films")
