"""Make the loaders of training runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.data import DataLoader

from conventions import Keys

from .datalist import patient_keys
from .sampling import EpochSampler, SeededDataset
from .unpaired import FILM_KEY, UnpairedDataset, UnpairedSampler


def training_loader(dataset: Any, batch_size: int = 1, seed: int = 0, num_workers: int = 0) -> DataLoader:
    """Make the loader of a generator's training, in which everything random follows from seed, epoch and case.

    Args:
        dataset: a MONAI dataset with `data` and `transform`, whose items hold `case`.
        batch_size: cases per batch of each process.
        seed: seed of the order of the cases and of their random transforms.
        num_workers: number of worker processes; 0 loads in this process.

    Raises:
        InputError: where the batches of all processes together hold more than all cases.
    """
    sampler = EpochSampler(len(dataset), seed, batch_size=batch_size)
    return DataLoader(SeededDataset(dataset, seed), batch_size=batch_size, sampler=sampler, num_workers=num_workers)


def unpaired_loader(
    dataset: UnpairedDataset,
    views: Sequence[str],
    batch_size: int = 1,
    seed: int = 0,
    balanced: bool = True,
    length: int | None = None,
    num_workers: int = 0,
) -> DataLoader:
    """Make the loader of a translator's training: unpaired films and DRRs.

    Args:
        dataset: films and DRRs.
        views: views of the DRRs, in order.
        batch_size: pairs per batch of each process.
        seed: seed of the order.
        balanced: as in `UnpairedSampler`.
        length: as in `UnpairedSampler`.
        num_workers: number of worker processes; 0 loads in this process.

    Raises:
        InputError: where there are no films of these views.
    """
    film_views = [film[Keys.VIEW] for film in dataset.films]
    sampler = UnpairedSampler(film_views, len(dataset.radiographs), views, seed, balanced, length)
    return DataLoader(dataset, batch_size=batch_size, sampler=sampler, num_workers=num_workers, drop_last=True)


def describe_unpaired(films: Sequence[Mapping[str, Any]], cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Describe the data that a translator is trained on, for its record.

    Args:
        films: items from `prepared_films`.
        cases: items from `load_datalist`.

    Returns:
        `data`, the numbers of films and of cases; `patients`, their keys from `patient_keys`; and `film_keys`.
    """
    return {
        "data": {"films": len(films), "train_cases": len(cases)},
        "patients": patient_keys([cases]),
        "film_keys": sorted(film[FILM_KEY] for film in films),
    }
