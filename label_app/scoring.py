"""Score studies by how well their predicted CT explains their films, and offer the worst first."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from conventions import InputError
from export import PacsError
from networks import describe_model

from .errors import RequestError
from .reprojection import SCORE, film_disagreement, rank
from .served import served_model
from .settings import ServerSettings
from .store import StudyStore

Infer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""`X2CTApp.infer`."""


class ReprojectionScore(ScoringMethod):
    """Scoring method: predict each study, and write how far the DRRs of its CT lie from its films.

    A study that has a score of the same model is passed over. What cannot be predicted gets its sentence.

    Args:
        settings: settings of the server.
        infer: predicts one study.
    """

    def __init__(self, settings: ServerSettings, infer: Infer) -> None:
        super().__init__("Re-projection error: difference of the films from the DRRs of the predicted CT, 0 is best")
        self.settings = settings
        self.infer = infer

    def __call__(self, request: Mapping[str, Any], datastore: StudyStore) -> dict[str, Any]:
        """Score all studies.

        Returns:
            Id -> score, or the sentence where there is none.
        """
        sha256 = describe_model(served_model(self.settings.checkpoint))["sha256"]
        found: dict[str, Any] = {}
        for image_id in datastore.list_images():
            score = datastore.get_image_info(image_id).get(SCORE, {})
            if score.get("sha256") != sha256 or "error" not in score:
                score = {"sha256": sha256, **self._score(image_id, str(request["model"]))}
                datastore.update_image_info(image_id, {SCORE: score})
            found[image_id] = score.get("error", score.get("problem"))
            print(f"{image_id}: {found[image_id]}", flush=True)  # becomes the detail of the running task
        return found

    def _score(self, image_id: str, model: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(dir=self.settings.work) as folder:
            asked = {"model": model, "image": image_id, "params": {"consistency": "auto"}, "folder": folder}
            try:
                consistency = self.infer(asked)["params"]["consistency"]
            except PacsError:
                raise
            except InputError as error:
                return {"problem": str(error)}
        return {"error": round(film_disagreement(consistency), 6)}


class WorstReprojection(Strategy):
    """Strategy that offers the study without true CT whose predicted CT explains its films worst."""

    def __init__(self) -> None:
        super().__init__("The study whose predicted CT explains its films worst; needs the scores of the same name")

    def __call__(self, request: Mapping[str, Any], datastore: StudyStore) -> dict[str, Any] | None:
        """Choose a study.

        Returns:
            `id`, its score, and `ranking`, all ids and scores; None where every study has its CT.

        Raises:
            RequestError: where no study was scored.
        """
        studies = datastore.get_unlabeled_images()
        if not studies:
            return None
        ranking = rank({name: datastore.get_image_info(name) for name in studies})
        if not ranking:
            raise RequestError(f"no study is scored yet; POST /scoring/{SCORE} first", 409)
        return {"id": ranking[0][0], SCORE: ranking[0][1], "ranking": ranking}
