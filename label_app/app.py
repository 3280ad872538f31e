"""Define the app that MONAI Label runs: a CT from the films of a study."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.random import Random

from conventions import VERSION, View
from export import DicomWeb, Pacs, StudyState, bundle_folder, predict_in_pacs, series_of
from networks import describe_model
from readers import NIFTI_SUFFIXES

from .errors import RequestError
from .infer import PredictCT
from .options import InferOptions, read_options
from .reprojection import SCORE
from .scoring import ReprojectionScore, WorstReprojection
from .settings import ServerSettings
from .store import PacsStore, StudyStore
from .training import TrainOnCTs

MODEL = "x2ct"
"""Name of the one model of the app."""

PACS_TIMEOUT_S, PACS_WAITS_S = 20.0, (1.0,)
"""Longest silence of the archive and waits before a request is tried again, in seconds: somebody waits."""


class X2CTApp(MONAILabelApp):
    """App of MONAI Label with one model, whose result is a volume in HU and no label map.

    Args:
        app_dir: folder of the app.
        studies: folder of studies, or address of an archive that speaks DICOMweb.
        conf: settings of the server, as `ServerSettings.environment` hands them over.
    """

    def __init__(self, app_dir: str, studies: str, conf: Mapping[str, Any]) -> None:
        self.settings = ServerSettings.of(conf)
        self.record = describe_model(self.settings.checkpoint)
        self.archive: DicomWeb | None = None
        super().__init__(app_dir, studies, dict(conf), "X2CT", "A synthetic CT from chest radiographs", VERSION)

    def init_datastore(self) -> StudyStore:
        """Return the studies."""
        views = [View(view) for view in self.record["acquisition"]["views"]]
        if not self.studies.startswith(("http://", "https://")):
            return StudyStore(self.studies, views)
        self.archive = DicomWeb(self.studies, PACS_TIMEOUT_S, PACS_WAITS_S)
        return PacsStore(str(Path(self.settings.work) / "index"), Pacs(self.archive), views)

    def init_infers(self) -> dict[str, PredictCT]:
        """Return the model."""
        return {MODEL: PredictCT(self.settings, self.record)}

    def init_trainers(self) -> dict[str, TrainOnCTs]:
        """Return the training of the model, where its bundle is an archive, whose train.json is that of the model."""
        bundle = bundle_folder()
        own = Path(self.settings.checkpoint).resolve() == (bundle / "models" / "model.pt").resolve()
        is_archive = (bundle / "x2ct").is_dir()
        return {MODEL: TrainOnCTs(bundle, self.settings)} if own and is_archive else {}

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the ways to choose the next study."""
        return {"random": Random(), SCORE: WorstReprojection()}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Return the ways to score studies."""
        return {SCORE: ReprojectionScore(self.settings, self.infer)}

    def infer(self, request: Mapping[str, Any], datastore: Any = None) -> dict[str, Any]:
        """Predict the CT of one study.

        Args:
            request: `model`; `image`, the id of a study, or `films`, paths of uploads; `params` (`read_options`);
                `folder`, an empty folder for the results.
            datastore: None.

        Returns:
            `file`, the CT as NIfTI, None where it was in the archive already; `params`, what is said about it.

        Raises:
            InputError: where the model, the study or a parameter does not exist, or the study cannot be predicted.
        """
        task = self._infers.get(request.get("model"))
        if task is None:
            raise RequestError(f"there is no model {str(request.get('model'))[:80]!r}; there is {MODEL}", 404)
        image, films = request.get("image") or "", request.get("films")
        if films is None:
            self._datastore.check(image)
        options = read_options(request.get("params") or {})
        if films is not None:
            self._check_uploads([Path(film) for film in films])
        folder = Path(request["folder"])
        if options.store:
            return self._store(task, image if films is None else "", options, folder)
        if films is None:
            fetched = folder / "films"
            fetched.mkdir()
            films = self._datastore.films(image, fetched)
        results = folder / "results"
        results.mkdir()
        file, said = task({"films": films, "folder": results, "options": options.keys})
        return {"file": file, "label": file, "params": said}

    def next_sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Choose the next study, as MONAI Label does, but without the path on the server."""
        name = str(request.get("strategy") or "random")
        if name not in self._strategies:
            raise RequestError(f"there is no strategy {name[:80]!r}; choose among {', '.join(self._strategies)}", 404)
        return self._strategies[name](request, self._datastore) or {}

    def trainers(self) -> list[str]:
        """Return the names of the models that can be trained further."""
        return list(self._trainers)

    def open(self) -> None:
        """Start the process that predicts."""
        for task in self._infers.values():
            task.predictor.start()

    def close(self) -> None:
        """End the process that predicts."""
        for task in self._infers.values():
            task.predictor.close()

    def _check_uploads(self, films: Sequence[Path]) -> None:
        """Refuse uploads that lack a film, or are one too many."""
        views = self.record["acquisition"]["views"]
        holds_all = films[0].is_dir() or films[0].name.endswith(NIFTI_SUFFIXES)
        if len(films) != len(views) and not (len(films) == 1 and holds_all):
            raise RequestError(
                f"this model reads {' and '.join(views)}, {len(films)} film(s) came: send the PA film as file and the "
                "lateral one as lateral, or all as a session"
            )

    def _store(self, task: PredictCT, study: str, options: InferOptions, folder: Path) -> dict[str, Any]:
        """Predict the CT of a study in the archive, and store it there."""
        if not isinstance(self._datastore, PacsStore) or not study:
            raise RequestError("store needs the id of a study in an archive; start the server with --studies ADDRESS")
        made: dict[str, Any] = {"file": None, "params": {}}
        refusals: list[RequestError] = []

        def predict(films: Sequence[Path], series: Path) -> None:
            keys = {**options.keys, "dicom": True}
            try:
                made["file"], made["params"] = task({"films": films, "folder": folder, "options": keys})
            except RequestError as error:
                refusals.append(error)
                raise
            shutil.move(series_of(folder), series)

        sha256 = describe_model(str(task.get_path()))["sha256"]
        outcome = predict_in_pacs(self._datastore.pacs, predict, sha256, study)
        if study in outcome.failed:
            raise RequestError(f"{study}: {outcome.failed[study]}", refusals[-1].status if refusals else 422)
        state = outcome.states[study]
        if state is StudyState.NO_PAIR:
            raise RequestError(f"{study}: does not hold a PA and a lateral film by its tags")
        return {**made, "label": made["file"], "params": {**made["params"], "stored": state.value}}
