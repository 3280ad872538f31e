"""What training and evaluation read from a manifest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import CacheDataset, MetaTensor, PersistentDataset, pickle_hashing
from monai.transforms import Compose
from torch.utils.data import Dataset
from tqdm import tqdm

from conventions import InputError, Keys

from .split import FOLDS, MANIFEST_NAME


def load_datalist(manifest: str | os.PathLike[str], fold: str) -> list[dict[str, str]]:
    """The cases of one fold.

    Args:
        manifest: a manifest as `python -m cohort split` writes it, or the folder that holds one.
        fold: one of `FOLDS`.

    Returns:
        Items {"label": path of the CT, "case": name, "patient": name}.

    Raises:
        InputError: where the manifest is missing or no manifest, the fold is empty or unknown, or a CT is missing.
    """
    path = Path(manifest)
    if fold not in FOLDS:
        raise InputError(f"unknown fold {fold!r}: choose one of {', '.join(FOLDS)}")
    if not path.exists():
        raise InputError(f"{path}: there is no such cohort; make one with: python -m cohort split FOLDER_OF_CTS")
    path = path / MANIFEST_NAME if path.is_dir() else path
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
        for case in _read_cases(path)
        if case["fold"] == fold
    ]
    if not items:
        raise InputError(f"{path}: holds no case for fold {fold!r}; split the cohort again")
    for item in items:
        if not Path(item[Keys.LABEL]).is_file():
            raise InputError(f"{path}: names {item[Keys.LABEL]}, which is not there; split the cohort again")
    return items


def _read_cases(path: Path) -> list[dict[str, str]]:
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
            raise InputError(f"{path}: case {name!r} must be there once and hold no slash; split the cohort again")
    return cases


def patient_keys(folds: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Keys that tell patients apart without naming them: the first 16 digits of the SHA-256 of each name.

    A model's record keeps those of the patients it has seen, so that an evaluation can refuse them.

    Args:
        folds: lists of items as `load_datalist` gives them.

    Returns:
        One key a patient, sorted.
    """
    patients = {str(item[Keys.PATIENT]) for fold in folds for item in fold}
    return sorted(hashlib.sha256(patient.encode()).hexdigest()[:16] for patient in patients)


def mean_volume(
    data: Sequence[Mapping[str, Any]],
    transform: Callable[[Mapping[str, Any]], Any],
    key: str = Keys.LABEL,
    progress: bool = True,
) -> torch.Tensor:
    """Mean of the training volumes, the prediction of a model that reads nothing.

    Args:
        data: items as `load_datalist` gives them.
        transform: item -> item with the volume (1, D, H, W) under `key`.
        key: where the volume stands.
        progress: whether to show a bar.

    Returns:
        (1, D, H, W), in the unit the transform gives.
    """
    total: torch.Tensor | None = None
    for item in tqdm(data, desc="mean training volume", unit="case", disable=not progress):
        volume = torch.as_tensor(transform(item)[key])
        volume = volume.as_tensor() if isinstance(volume, MetaTensor) else volume
        total = volume.double() if total is None else total + volume
    if total is None:
        raise InputError("the training fold is empty; split the cohort again")
    return (total / len(data)).float()


def cached_dataset(
    data: Sequence[Mapping[str, Any]],
    transform: Compose,
    cache_rate: float = 1.0,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> CacheDataset | PersistentDataset:
    """A dataset that does what is not random in its transform once a case.

    Args:
        data: items as `load_datalist` gives them.
        transform: of an item; from its first random transform on it is done every time.
        cache_rate: share of the cases to keep in memory, 8 MiB each at 128^3.
        cache_dir: keep them in files of this folder instead, which a cohort larger than memory needs; they serve the
            next run as well, as long as item and transform are the same.
        progress: whether to show how filling the memory goes on.
    """
    if cache_dir is None:
        return CacheDataset(data, transform, cache_rate=cache_rate, progress=progress)
    return PersistentDataset(data, transform, cache_dir=cache_dir, hash_transform=pickle_hashing, track_meta=True)


class WithOtherRadiographs(Dataset):
    """A dataset whose items also hold the radiographs of another patient, under `other_image`.

    A model that reads its input must do worse with them. Each item gets those of the next item of another patient.

    Args:
        dataset: items with `image` and `patient`.

    Raises:
        InputError: where all items are of one patient.
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
            raise InputError(f"all {count} held-out cases are of one patient; hold out two or more to compare them")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.dataset[index], Keys.OTHER_IMAGE.value: self.dataset[self.other[index]][Keys.IMAGE]}
