"""Predict a CT as an inference task of MONAI Label."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from conventions import InputError
from export import doubts_of

from .errors import RequestError
from .options import shown_options
from .predictor import Predictor
from .served import served_model
from .settings import ServerSettings


class PredictCT(InferTask):
    """Inference task that runs `inferring`, so that its CT is the one that the command writes.

    MONAI Label's BundleInferTask would not do: it calls the network without the geometry of the films, holds one config
    for all requests, whose values a request may replace by code, runs in the process that answers, leaves out the
    handlers that mark the CT, and cuts off fractions of HU. It would also need torchvision.

    Args:
        settings: settings of the server.
        record: record of the model.
    """

    def __init__(self, settings: ServerSettings, record: Mapping[str, Any]) -> None:
        views = " and ".join(record["acquisition"]["views"])
        description = f"A synthetic CT in HU from {views} radiographs of the chest; not for diagnosis"
        super().__init__(InferType.OTHERS, {}, 2, description, shown_options())
        self.settings = settings
        self.predictor = Predictor()

    def is_valid(self) -> bool:
        """Return whether there are weights."""
        return self.get_path() is not None

    def get_path(self, validate: bool = True) -> str | None:
        """Return the model file."""
        path = served_model(self.settings.checkpoint)
        return str(path) if path.is_file() or not validate else None

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Predict one study.

        Args:
            request: `films`, paths as `export.infer_study` takes them; `folder`, folder of the results; `options`, keys
                of inference.json.

        Returns:
            File of the CT, and what its sidecar says, with the doubts about its films as sentences.

        Raises:
            InputError: where it cannot be predicted. No path is in the message.
        """
        folder, films = Path(request["folder"]), [Path(film) for film in request["films"]]
        model = served_model(self.settings.checkpoint)
        try:
            file = self.predictor([str(film) for film in films], str(folder), str(model), request["options"])
        except RequestError:
            raise
        except InputError as error:
            folders = {folder, model.parent, *(film.parent for film in films)}
            raise RequestError(_without_folders(str(error), folders)) from error
        sidecar = json.loads(Path(file.removesuffix(".nii.gz") + ".json").read_text(encoding="utf-8"))
        return file, {**sidecar, "doubts": doubts_of(sidecar.get("radiographs", []))}


def _without_folders(sentence: str, folders: Iterable[Path]) -> str:
    """Take the folders of the server out of a sentence."""
    for path in sorted(map(str, folders), key=len, reverse=True):
        sentence = sentence.replace(f"{path}/", "")
    return sentence
