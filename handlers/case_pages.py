"""Write the page of each case that is predicted from films."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import convert_to_numpy

from conventions import Keys
from drr import Acquisition
from readers import film_notes, unpack_films
from reports import CaseContent, write_case_page

from .case_figures import expected_error_of

logger = logging.getLogger("x2ct.export")


class CasePages:
    """Handler of an evaluator that writes `<case>.html`, one page with a viewer for each case (`write_case_page`).

    Volumes are expected in HU, so the evaluator's postprocessing has run.

    Args:
        output_dir: folder of the pages; files of an earlier run are renamed.
        acquisition: what the films were brought to.
        record: description of the model, as in `export.write_nifti`.
    """

    def __init__(
        self, output_dir: str | os.PathLike[str], acquisition: Acquisition, record: Mapping[str, Any] | None = None
    ) -> None:
        self.output_dir = Path(output_dir)
        self.acquisition = acquisition
        self.record = record

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the pages of one decollated batch."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            image, prediction = (convert_to_numpy(output[key], dtype=np.float32) for key in (Keys.IMAGE, Keys.PRED))
            content = CaseContent(
                case=str(item[Keys.CASE]),
                prediction_hu=prediction[0],
                acquisition=self.acquisition,
                error_hu=expected_error_of(output),
                image=image,
                model=self.record or {},
                films=film_notes(unpack_films(item)),
            )
            logger.info("wrote %s", write_case_page(self.output_dir / f"{content.case}.html", content))
