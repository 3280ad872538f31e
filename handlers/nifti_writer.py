"""Write the predicted volume of each case as NIfTI."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from conventions import Keys
from export import write_nifti
from readers import unpack_films

from .geometry import agreement_of

EXPECTED_ERROR = "expected absolute error of the network's own volume in HU"
"""What the second file of a case holds."""

logger = logging.getLogger("x2ct.export")


class NiftiWriter:
    """Handler of an evaluator that writes the predicted volume of each case, and how its films were read.

    Where the network estimates its errors, `<case>_expected_error.nii.gz` holds them. Volumes are expected in HU, so
    the evaluator's postprocessing has run. This is a handler and not a transform, so
    that a server that runs the bundle's postprocessing leaves no patient's volume on its disk.

    Args:
        output_dir: folder of the files.
        name: name of the file without suffix, where the item holds no `case`.
        record: description of the model, as in `write_nifti`.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], name: str = "synthetic_ct", record: Mapping[str, Any] | None = None
    ) -> None:
        self.output_dir = Path(output_dir)
        self.name = name
        self.record = record

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the cases of one decollated batch: `pred` (1, D, H, W) with the affine it carries."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            volume = output[Keys.PRED]
            case = str(item.get(Keys.CASE, self.name))
            films = [{"view": str(film.view), "decisions": film.record.to_list()} for film in unpack_films(item)]
            self._write(f"{case}.nii.gz", volume, volume.affine, films, output, "HU")
            if Keys.EXPECTED_ERROR in output:
                error = output[Keys.EXPECTED_ERROR]
                self._write(f"{case}_expected_error.nii.gz", error, volume.affine, films, output, EXPECTED_ERROR)

    def _write(self, name: str, volume: Any, affine: Any, films: Any, output: Any, quantity: str) -> None:
        written = write_nifti(
            self.output_dir / name,
            volume[0].cpu().numpy(),
            affine.cpu().numpy(),
            self.record,
            films,
            agreement_of(output),
            quantity,
        )
        logger.info("wrote %s", written)
