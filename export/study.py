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
"""Name of the results."""


def predict_study(films: FilePath | Sequence[FilePath], folder: FilePath, checkpoint: FilePath, **options: Any) -> Path:
    """Predict a CT from the films of one study as `infer_study` does, and keep its DICOM series alone.

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
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent, prefix=f".{made.name}-") as aside:
        infer_study(films, aside, checkpoint, **{**options, "dicom": True})
        series = series_of(aside)
        if not series.is_dir():
            raise RuntimeError(f"{made}: inferring ended without a series")
        try:
            os.replace(series, made)
        except OSError as error:
            raise InputError(f"{made}: cannot be written ({error}); choose another folder or make room") from error
    return made


def infer_study(films: FilePath | Sequence[FilePath], folder: FilePath, checkpoint: FilePath, **options: Any) -> Path:
    """Predict a CT from the films of one study with the bundle's `inferring`, and write all that it writes.

    The config is fitted to the record of the model, so no overlays are needed. Nothing of an earlier study stays in
    memory, so one that fails cannot change the next.

    Args:
        films: as in `predict_study`.
        folder: folder of the files, of which each begins with `CASE`.
        checkpoint: the model file, with its record next to it.
        options: keys of inference.json, such as consistency="auto".

    Returns:
        The CT as NIfTI, with its sidecar next to it.

    Raises:
        InputError: where the films cannot be read.
    """
    paths = [films] if isinstance(films, (str, os.PathLike)) else list(films)
    keys = dict(zip(("pa", "lateral"), (os.path.abspath(path) for path in paths), strict=False))
    _infer(Path(checkpoint), {**options, **keys, "case": CASE, "output_dir": str(folder)})
    return Path(folder) / f"{CASE}.nii.gz"


def series_of(folder: FilePath) -> Path:
    """Return the folder of the DICOM series that `infer_study` writes where it is asked to.

    Args:
        folder: folder of its files.
    """
    return Path(folder) / f"{CASE}_dicom"


def _infer(checkpoint: Path, options: dict[str, Any]) -> None:
    """Run `inferring` with the config fitted to a model."""
    config = bundle_folder() / "configs" / "inference.json"
    content = json.loads(config.read_text(encoding="utf-8"))
    fitted = config_for_model(json.loads(json.dumps(content)), describe_model(checkpoint))
    changed = {key: value for key, value in fitted.items() if content.get(key) != value}
    root = str(bundle_folder().resolve())  # whatever the current folder is
    overrides = {**changed, "bundle_root": root, **options, "checkpoint": os.path.abspath(checkpoint)}
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
