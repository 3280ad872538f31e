"""Write the predicted volume of each case as a DICOM series."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from conventions import InputError, Keys, View
from export import read_film_study, write_dicom_series
from readers import film_files, unpack_films
from storage import check_new_folder

logger = logging.getLogger("x2ct.export")


class DicomWriter:
    """Handler of an evaluator that writes the predicted volume of each case as the DICOM series `<case>_dicom`.

    Before anything is predicted, a case whose films are not of one patient and study, or whose folder is there already,
    gets this as its problem, and is left out as if its films could not be read. Volumes are expected in HU, so the
    evaluator's postprocessing has run.

    Args:
        output_dir: folder of the folders.
        loader: a `cohort.TolerantLoader`, whose items name the files of the films.
        views: views that the model reads, in order.
        record: description of the model, as in `write_dicom_series`.
        corner_text: whether to burn a text into a corner of each slice, as in `write_dicom_series`.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        loader: Any,
        views: Sequence[str] = tuple(View),
        record: Mapping[str, Any] | None = None,
        corner_text: bool = False,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.loader = loader
        self.views = tuple(View(view) for view in views)
        self.record = record
        self.corner_text = corner_text

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.STARTED, self._check)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the cases of one decollated batch: `pred` (1, D, H, W) with the affine it carries."""
        paths = {str(item[Keys.CASE]): item[Keys.IMAGE] for item in self.loader.dataset.data}
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            case, volume = str(item[Keys.CASE]), output[Keys.PRED]
            written = write_dicom_series(
                self._folder(case),
                volume[0].cpu().numpy(),
                volume.affine.cpu().numpy(),
                self.record,
                film_files(paths[case], self.views),
                [{"view": str(film.view), "decisions": film.record.to_list()} for film in unpack_films(item)],
                self.corner_text,
            )
            logger.info("wrote %s", written)

    def _folder(self, case: str) -> Path:
        return self.output_dir / f"{case}_dicom"

    def _check(self, engine: Engine) -> None:
        for item in self.loader.dataset.data:
            if Keys.PROBLEM in item:
                continue
            try:
                check_new_folder(self._folder(str(item[Keys.CASE])))
                read_film_study(film_files(item[Keys.IMAGE], self.views))
            except InputError as error:
                item[Keys.PROBLEM] = str(error)
