"""Read the cases of a manifest, cache them, describe them and average them."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose
from torch.utils.data import Dataset
from tqdm import tqdm

from conventions import InputError, Keys, input_error_in
from networks import read_mean_volume
from storage import key_of

from .arrays import ArrayDataset
from .ready import NO_COHORT
from .sampling import place_in_group
from .split import FOLDS, MANIFEST_NAME, manifest_of

logger = logging.getLogger("x2ct.cohort")


def load_datalist(manifest: str | os.PathLike[str] | None, fold: str) -> list[dict[str, str]]:
    """Load the cases of one fold.

    Args:
        manifest: manifest written by `python -m cohort split`, or the folder that holds it.
        fold: one of `FOLDS`.

    Returns:
        Items {"label": path of the CT, "case": name, "patient": name}.

    Raises:
        InputError: where the manifest is not given, missing or invalid, the fold is empty or unknown, or a CT is
            missing.
    """
    if manifest in (None, ""):
        raise InputError(NO_COHORT)
    path = Path(str(manifest))
    if fold not in FOLDS:
        raise InputError(f"unknown fold {fold!r}: choose one of {', '.join(FOLDS)}")
    if not path.exists():
        raise InputError(f"{path}: there is no such cohort; make one with: python -m cohort split FOLDER_OF_CTS")
    path = manifest_of(path)
    if not path.is_file():
        raise InputError(
            f"{path.parent}: holds no {MANIFEST_NAME}; write it with: python -m cohort split {path.parent}"
        )
    items = [
        {
            Keys.LABEL.value: str(path.parent / case["ct"]),
            Keys.CASE.value: case["case"],
            Keys.PATIENT.value: case["patient"],
        }
        for case in read_cases(path)
        if case["fold"] == fold
    ]
    if not items:
        raise InputError(f"{path}: holds no case for fold {fold!r}; split the cohort again")
    for item in items:
        if not Path(item[Keys.LABEL]).is_file():
            raise InputError(f"{path}: lists {item[Keys.LABEL]}, which does not exist; split the cohort again")
    return items


def read_cases(path: Path) -> list[dict[str, Any]]:
    """Read the entries of a manifest.

    Args:
        path: the manifest.

    Returns:
        Entries, of which `case`, `patient`, `ct` and `fold` are text, as they are stored.

    Raises:
        InputError: where it is no manifest, names a case twice, or has a patient in two folds.
    """
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        complete = all(isinstance(case[entry], str) for case in cases for entry in ("case", "patient", "ct", "fold"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no manifest ({error!r}); write it with: python -m cohort split") from error
    if not complete:
        raise InputError(f"{path}: case, patient, ct and fold must be text; write it with: python -m cohort split")
    names = [case["case"] for case in cases]
    for name in names:
        if names.count(name) > 1 or "/" in name or "\\" in name:
            raise InputError(f"{path}: case {name!r} must be listed once and hold no slash; split the cohort again")
    fold: dict[str, str] = {}
    for case in cases:
        if fold.setdefault(case["patient"], case["fold"]) != case["fold"]:
            raise InputError(
                f"{path}: patient {case['patient']!r} is in two folds, {fold[case['patient']]} and {case['fold']}, so "
                "a model would be measured on a patient that it has seen; split the cohort again"
            )
    return cases


def patient_keys(folds: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Compute keys that identify patients without naming them: the first 16 digits of the SHA-256 of each name.

    The record of a model holds the keys of the patients it has seen, so that an evaluation can refuse them.

    Args:
        folds: lists of items from `load_datalist`.

    Returns:
        One key per patient, sorted.
    """
    patients = {str(item[Keys.PATIENT]) for fold in folds for item in fold}
    return sorted(key_of(patient) for patient in patients)


def describe_data(train: Sequence[Mapping[str, Any]], validation: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Describe the data that a model is trained on, for its record.

    Args:
        train: training items from `load_datalist`.
        validation: validation items from `load_datalist`.

    Returns:
        `data`, the number of cases in each fold, and `patients`, their keys from `patient_keys`.
    """
    return {
        "data": {"train_cases": len(train), "validation_cases": len(validation)},
        "patients": patient_keys([train, validation]),
    }


def mean_volume(
    data: Sequence[Mapping[str, Any]],
    transform: Callable[[Mapping[str, Any]], Any],
    key: str = Keys.LABEL,
    progress: bool = True,
) -> torch.Tensor:
    """Average the training volumes: the prediction of a model that ignores its input.

    Args:
        data: items from `load_datalist`.
        transform: item -> item with the volume (1, D, H, W) under `key`.
        key: key of the volume.
        progress: whether to show a progress bar.

    Returns:
        (1, D, H, W), in the unit that the transform yields.

    Raises:
        InputError: where there are no items.
    """
    total: torch.Tensor | None = None
    for item in tqdm(data, desc="mean training volume", unit="case", disable=not progress):
        volume = torch.as_tensor(transform(item)[key])
        volume = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
        total = volume.double() if total is None else total + volume
    if total is None:
        raise InputError("the training fold is empty; split the cohort again")
    return (total / len(data)).float()


def mean_training_volume(
    checkpoint: str | os.PathLike[str], manifest: str | os.PathLike[str], transform: Callable[[Mapping[str, Any]], Any]
) -> torch.Tensor | None:
    """Find the mean of the volumes that a model was trained on.

    The mean that was saved with the model is preferred, so that a model and a test set are enough for an evaluation.

    Args:
        checkpoint: the model file.
        manifest: manifest whose training fold is averaged where no mean was saved.
        transform: item -> item with the volume (1, D, H, W) in unit values under `label`.

    Returns:
        (1, D, H, W), unit values; None, with a warning, where no mean was saved and the training fold cannot be read.

    Raises:
        InputError: where the saved mean is damaged.
    """
    saved = read_mean_volume(checkpoint)
    if saved is not None:
        return saved
    first_process = place_in_group(None, None)[0] == 0
    try:
        return mean_volume(load_datalist(manifest, "train"), transform, progress=first_process)
    except Exception as error:
        reason = input_error_in(error)  # MONAI wraps the errors of transforms
        if reason is None:
            raise
        if first_process:
            logger.warning(
                'the control "mean training volume" is left out: none was saved with %s, and the training fold cannot '
                "be read (%s)",
                checkpoint,
                reason,
            )
        return None


def cached_dataset(
    data: Sequence[Mapping[str, Any]],
    transform: Compose,
    cache_rate: float = 1.0,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> CacheDataset | ArrayDataset:
    """Make a dataset that keeps what is not random: in memory up to the first random transform, or the CTs in files.

    Args:
        data: items from `load_datalist`.
        transform: transform of an item; from its first random transform on it is repeated on every access.
        cache_rate: share of the cases to keep in memory, 8 MiB each at 128^3.
        cache_dir: folder of `ArrayDataset`, for cohorts larger than memory, 4 MiB each at 128^3; None keeps none.
        progress: whether to show a progress bar while memory is filled.
    """
    if cache_dir is None:
        return CacheDataset(data, transform, cache_rate=cache_rate, progress=progress)
    return ArrayDataset(data, transform, cache_dir)


class WithOtherRadiographs(Dataset):
    """A dataset whose items also hold another patient's radiographs, `other_image`, and their `other_geometry`.

    A model that reads its input must do worse with them. They are those of the next item of another patient.

    Args:
        dataset: dataset with `data`; items with `image` and `patient`, and `geometry` where known.

    Raises:
        InputError: where all items belong to one patient.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        patients = [item[Keys.PATIENT] for item in self.dataset.data]
        count = len(patients)
        self.other = [
            next((j % count for j in range(i + 1, i + count) if patients[j % count] != patients[i]), None)
            for i in range(count)
        ]
        if None in self.other:
            raise InputError(f"all {count} held-out cases belong to one patient; hold out two or more patients")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Load an item and the other patient's radiographs."""
        other = self.dataset[self.other[index]]
        item = {**self.dataset[index], Keys.OTHER_IMAGE.value: other[Keys.IMAGE]}
        if Keys.GEOMETRY in other:
            item[Keys.OTHER_GEOMETRY.value] = other[Keys.GEOMETRY]
        return item
