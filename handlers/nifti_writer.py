"""Write the predicted volume of each case as NIfTI."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from conventions import Keys
from drr import Acquisition
from export import write_nifti, write_truth
from readers import film_notes, unpack_films

from .geometry import agreement_of
from .own_cases import OwnCases

EXPECTED_ERROR = "expected absolute error of the network's own volume in HU"
"""What the second file of a case holds."""

logger = logging.getLogger("x2ct.export")


class NiftiWriter:
    """Handler of an evaluator that writes the predicted volume of each case, and how its films were read.

    Where the network estimates its errors, `<case>_expected_error.nii.gz` holds them; where the true CT is known,
    `<case>_truth.nii.gz` holds it on the same grid. Volumes are expected in HU, so the evaluator's postprocessing has
    run. This is a handler and not a transform, so that a server that runs the bundle's postprocessing leaves no
    patient's volume on its disk. Several processes each write their own cases.

    Args:
        output_dir: folder of the files.
        name: name of the file without suffix, where the item holds no `case`.
        record: description of the model, as in `write_nifti`.
        acquisition: how the radiographs were made, or what films were brought to, for the sidecar.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        name: str = "synthetic_ct",
        record: Mapping[str, Any] | None = None,
        acquisition: Acquisition | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.name = name
        self.record = record
        self.acquisition = acquisition
        self.own_cases = OwnCases()

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the cases of one decollated batch: `pred` (1, D, H, W) with the affine it carries."""
        if not self.own_cases.asked(engine, self._case(engine.state.batch[0])):
            return
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            volume = output[Keys.PRED]
            case = self._case(item)
            films = film_notes(unpack_films(item))
            self._write(f"{case}.nii.gz", volume, volume.affine, films, output, "HU")
            if Keys.EXPECTED_ERROR in output:
                error = output[Keys.EXPECTED_ERROR]
                self._write(f"{case}_expected_error.nii.gz", error, volume.affine, films, output, EXPECTED_ERROR)
            if Keys.LABEL in output:
                truth = output[Keys.LABEL]
                write_truth(self.output_dir / f"{case}_truth.nii.gz", truth[0].cpu().numpy(), volume.affine.numpy())

    def _case(self, item: Mapping[Any, Any]) -> str:
        return str(item.get(Keys.CASE, self.name))

    def _write(self, name: str, volume: Any, affine: Any, films: Any, output: Any, quantity: str) -> None:
        written = write_nifti(
            self.output_dir / name,
            volume[0].cpu().numpy(),
            affine.cpu().numpy(),
            self.record,
            films,
            agreement_of(output),
            quantity,
            None if self.acquisition is None else self.acquisition.record(),
        )
        logger.info("wrote %s", written)
