"""Predict the CT of studies in an archive, each once, and store it in the study of its films."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from pathlib import Path

from monai.utils import optional_import

from conventions import InputError, View

from .dicomweb import PacsError
from .pacs import Pacs, PacsFilm

pydicom, _ = optional_import("pydicom")

logger = logging.getLogger("x2ct.export")

PredictFilms = Callable[[Sequence[Path], Path], object]
"""Function that predicts a study, (PA and lateral film, folder to make)."""


class StudyState(Enum):
    """State in which a study of an archive was left."""

    DONE = "done"
    """Its CT was predicted and stored."""
    HELD = "held"
    """It held the CT of these films and this model already."""
    NO_PAIR = "no pair"
    """It does not hold both views."""


@dataclass(frozen=True)
class PacsOutcome:
    """Outcome of one pass over the studies of an archive.

    Args:
        states: StudyInstanceUID -> state of those that did not fail.
        failed: StudyInstanceUID -> sentence of those that did.
    """

    states: dict[str, StudyState] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def count(self, state: StudyState) -> int:
        """Return the number of studies in a state."""
        return sum(found is state for found in self.states.values())


def predict_in_pacs(
    pacs: Pacs, predict: PredictFilms, sha256: str, study: str | None = None, since: date | None = None
) -> PacsOutcome:
    """Predict the CT of each study that holds both views, and store it there.

    A study that holds the CT of the same films and weights is passed over. Films lie in a folder for temporary files
    while their CT is predicted. Nothing is stored where the films of the study changed meanwhile.

    Args:
        pacs: the archive.
        predict: predicts one study, such as `predict_study`; raises `InputError` where it cannot.
        sha256: SHA-256 of its weights.
        study: StudyInstanceUID of the only study to do.
        since: first day of the studies to do.

    Returns:
        What was done.

    Raises:
        InputError: where the archive cannot be searched, or no longer be reached; or it lacks the study.
    """
    outcome = PacsOutcome()
    found = pacs.studies(study, since)
    if study is not None and not found:
        raise InputError(f"{pacs.url}: holds no study {study}, or an earlier one; check its UID")
    for uid in found:
        try:
            outcome.states[uid] = _predict_one(pacs, predict, sha256, uid)
            if outcome.states[uid] is StudyState.DONE:
                logger.info("study %s is done", uid)
        except PacsError:
            raise
        except InputError as error:
            outcome.failed[uid] = str(error)
        except Exception as error:  # one study must not end the others; its message may name the patient
            outcome.failed[uid] = f"failed with {type(error).__name__}; run inferring on its films to see why"
        if uid in outcome.failed:
            logger.error("study %s failed: %s", uid, outcome.failed[uid])
    return outcome


def _predict_one(pacs: Pacs, predict: PredictFilms, sha256: str, study: str) -> StudyState:
    films = pacs.films(study)
    pair = film_pair(films)
    if not pair:
        return StudyState.NO_PAIR
    if _is_held(pacs, study, pair, sha256):
        return StudyState.HELD
    with tempfile.TemporaryDirectory(prefix="x2ct-") as aside:
        folder = Path(aside)
        logger.info("study %s is predicted", study)
        files = retrieve_pair(pacs, study, pair, folder)
        try:
            predict(files, folder / "ct")
        except InputError as error:
            raise InputError(str(error).replace(f"{aside}{os.sep}", "")) from error
        images = [pydicom.dcmread(file) for file in sorted((folder / "ct").iterdir())]
    if pacs.films(study) != films:
        raise InputError("its films changed while its CT was predicted, so nothing was stored; run it again")
    if _is_held(pacs, study, pair, sha256, str(images[0].SeriesInstanceUID)):
        return StudyState.HELD
    pacs.store(study, images)
    return StudyState.DONE


def retrieve_pair(pacs: Pacs, study: str, pair: Sequence[PacsFilm], folder: Path) -> list[Path]:
    """Retrieve the films of a study.

    Args:
        pacs: the archive.
        study: StudyInstanceUID.
        pair: its films, as `film_pair` returns them.
        folder: folder of the files.

    Returns:
        The files, each named after its view.

    Raises:
        InputError: where the archive does not give a film.
    """
    return [pacs.retrieve(study, film, folder / f"{film.view}.dcm") for film in pair]


def film_pair(films: frozenset[PacsFilm]) -> list[PacsFilm]:
    """Find the PA and the lateral film of a study.

    Args:
        films: its films, as `Pacs.films` returns them.

    Returns:
        Both; none where it lacks one of them.

    Raises:
        InputError: where there are several of a view.
    """
    pair = []
    for view in View:
        shown = [film for film in films if film.view is view and not film.raw]
        found = shown or [film for film in films if film.view is view]
        if not found:
            return []
        pair += found
    if len(pair) > len(View):
        raise InputError(
            f"holds {len(pair)} films of both views, so which two belong together is not known; "
            "export two of them and give their folder to python -m export studies"
        )
    return pair


def _is_held(pacs: Pacs, study: str, pair: Sequence[PacsFilm], sha256: str, series: str | None = None) -> bool:
    """Return whether a study holds the CT of two films and some weights; refuse a part that is not of that series."""
    films = {film.uid for film in pair}
    same = [ct for ct in pacs.synthetic_cts(study) if ct.films == films and sha256 in ct.versions]
    if any(ct.whole for ct in same):
        return True
    if series and any(ct.uid != series for ct in same):
        raise InputError(
            "holds a part of a synthetic CT that was computed elsewhere; delete that series and run it again"
        )
    return False
