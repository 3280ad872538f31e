"""Predict the CT of one study, from its films to a DICOM series."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from conventions import InputError, input_error_in
from networks import describe_model
from storage import check_new_folder

from .model_config import bundle_folder, config_for_model

FilePath = str | os.PathLike[str]

CASE = "synthetic_ct"


def predict_study(films: FilePath | Sequence[FilePath], folder: FilePath, checkpoint: FilePath, **options: Any) -> Path:
    """Predict a CT from the films of one study with the bundle's `inferring`, and write it as a DICOM series.

    The config is fitted to the record of the model, so no overlays are needed. Nothing of an earlier study stays in
    memory, so one that fails cannot change the next.

    Args:
        films: folder that holds one film of each view; or the files of the PA and the lateral film.
        folder: folder to make; it must not exist, or be empty. It is there whole or not at all.
        checkpoint: the model file, with its record next to it, as `find_model` returns it.
        options: keys of inference.json, such as consistency="auto".

    Returns:
        The folder.

    Raises:
        InputError: where the films cannot be read, are not of one patient and study, or the folder holds something.
    """
    made = Path(folder)
    check_new_folder(made)
    paths = [films] if isinstance(films, (str, os.PathLike)) else list(films)
    keys = dict(zip(("pa", "lateral"), (os.path.abspath(path) for path in paths), strict=False))
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=f".{made.name}-") as aside:
        _infer(Path(checkpoint), {**options, **keys, "case": CASE, "output_dir": aside, "dicom": True})
        series = Path(aside) / f"{CASE}_dicom"
        if not series.is_dir():
            raise RuntimeError(f"{made}: inferring ended without a series")
        try:
            os.replace(series, made)
        except OSError as error:
            raise InputError(f"{made}: cannot be written ({error}); choose another folder or make room") from error
    return made


def _infer(checkpoint: Path, options: dict[str, Any]) -> None:
    """Run `inferring` with the config fitted to a model."""
    config = bundle_folder() / "configs" / "inference.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    fitted = config_for_model(json.loads(json.dumps(content)), describe_model(checkpoint))
    changed = {key: value for key, value in fitted.items() if content.get(key) != value}
    overrides = {**changed, **options, "checkpoint": os.path.abspath(checkpoint)}
    try:
        workflow = ConfigWorkflow(str(config), workflow_type="inference", logging_file=False, **overrides)
        workflow.run_id = "inferring"
        workflow.initialize()
        workflow.run()
    except Exception as error:
        sentence = input_error_in(error)
        if sentence is None:
            raise
        raise InputError(sentence) from error
