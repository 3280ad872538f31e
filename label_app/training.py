"""Train the served model further, on the true CTs of the studies."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.tasks.train.bundle import BundleTrainTask
from monailabel.utils.others.generic import device_list

from cohort import prepare_cohort, split_cohort
from conventions import InputError, input_error_in

from .served import serve, served_model
from .settings import ServerSettings
from .store import StudyStore
from .train_options import TrainOptions, read_train_options

TRAINED = "trained"
"""Folder next to the served model, with a folder for each model that was trained from it."""


class TrainOnCTs(BundleTrainTask):
    """Training task over the bundle's train.json and the CTs of `labels/final`.

    BundleTrainTask brings the datalist, the handlers and a loader of weights of its own; here the CTs are prepared and
    split by patient as everywhere in this project, and `initial_model` loads the weights strictly. The DRRs that the
    network sees are computed from the CTs; the films of the studies are not trained on. A new model is served once its
    training has ended well, and none is overwritten.

    Args:
        bundle: folder of an archive.
        settings: settings of the server.
    """

    def __init__(self, bundle: Path, settings: ServerSettings) -> None:
        super().__init__(str(bundle), {}, load_strict=True)
        self.settings = settings
        self._keys: dict[str, Any] = {}

    def config(self) -> dict[str, Any]:
        """Return the parameters of a training, as a client shows them."""
        shown = TrainOptions()
        return {**vars(shown), "device": device_list()}

    def __call__(self, request: Mapping[str, Any], datastore: StudyStore) -> dict[str, Any]:
        """Train, and serve the new model.

        Args:
            request: the parameters (`read_train_options`).
            datastore: the studies.

        Returns:
            Name of the folder of the new model.

        Raises:
            SystemExit: where it cannot be trained, with the sentence that says why.
        """
        options = read_train_options({key: request[key] for key in vars(TrainOptions()) if key in request})
        first = Path(self.settings.checkpoint)
        run = first.parent / TRAINED / time.strftime("%Y%m%d-%H%M%S")
        try:
            with tempfile.TemporaryDirectory(dir=self.settings.work) as aside:
                manifest = _prepare(datastore, Path(aside), options.validation)
                self._keys = {
                    "manifest": str(manifest),
                    "ckpt_dir": str(run),
                    "output_dir": str(run / "run"),
                    "max_epochs": options.max_epochs,
                    "batch_size": options.batch_size,
                }
                if options.pretrained:
                    model = "@initial_model"
                    self._keys["initial_model"] = str(served_model(first))
                    self._keys |= {"train#records#initial_model": model, "train#trainer#resume#initial_model": model}
                asked = {"model": request.get("model"), "device": options.device, "val_split": -1, "multi_gpu": False}
                super().__call__(asked, datastore)
            serve(first, run / "model.pt")
        except Exception as error:
            sentence = input_error_in(error)
            if sentence is None:
                raise
            raise SystemExit(f"Error: {sentence}") from error
        finally:
            if not (run / "model.pt").is_file():
                shutil.rmtree(run, ignore_errors=True)
        return {"model": run.name}

    def _fetch_datalist(self, request: Any, datastore: Any) -> list[dict[str, str]]:
        return []  # the manifest lists the CTs

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: Any) -> None:
        """Add no loader; `initial_model` does it."""

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        kept = {self.const.key_bundle_root(), self.const.key_device()}
        for key in set(overrides) - kept:
            del overrides[key]
        overrides.update(self._keys)
        return overrides


def _prepare(datastore: StudyStore, aside: Path, validation: int) -> Path:
    """Prepare the true CTs, and return the manifest that splits them by patient."""
    files = [entry["label"] for entry in datastore.datalist()]
    if not files:
        raise InputError(
            "no study has a true CT yet; put CTs into labels/final of the studies, each named as its study"
        )
    listed = aside / "cts.txt"
    listed.write_text("\n".join(files) + "\n", encoding="utf-8")
    prepared = prepare_cohort(listed, aside / "cohort")
    for name, sentence in prepared.refused:
        said = sentence.replace(f"{Path(name).parent}/", "")
        print(f"left out: {said}", flush=True)  # becomes the detail of the running task
    return split_cohort(aside / "cohort", aside / "manifest.json", test=0, validation=validation)
