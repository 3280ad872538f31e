"""Split a cohort into k folds by patient, for cross-validation: one manifest for each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conventions import InputError
from storage import set_aside, write_json

from .split import check_seed, cohort_entries, count_of, manifest_place, strata_of, with_folds


def split_into_folds(
    folder: str | os.PathLike[str],
    folds: int,
    output: str | os.PathLike[str] | None = None,
    test: float = 0.0,
    seed: int = 0,
    patients: str | os.PathLike[str] | None = None,
) -> list[Path]:
    """Split the CTs of a folder by patient into k folds of one size, and write a manifest for each.

    In manifest_1of5.json the first fold is for validation and the other four are for training, and so on, so that each
    patient is in validation once. Patients of `test` are in the test fold of all of them.

    Patients of a prepared cohort are stratified by what their CTs cut off and by manufacturer (`strata_of`): folds
    differ by at most one in the patients of each kind.

    Args:
        folder: as in `split_cohort`.
        folds: number of folds, from 2 up.
        output: folder to write the manifests to; by default the folder of the CTs. Existing ones are renamed.
        test: patients held out for evaluation from all folds: a number, or a share below 1.
        seed: seed of the random split.
        patients: as in `split_cohort`.

    Returns:
        The manifests, in the order of the folds.

    Raises:
        InputError: where there are fewer patients than folds, or as in `split_cohort`.
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or folds < 2:
        raise InputError(f"folds must be an integer from 2 up, got {folds!r}")
    check_seed(seed)
    if output is not None and not Path(output).is_dir():
        raise InputError(f"{output}: is no folder; with --folds give an existing folder, which takes {folds} manifests")
    root = Path(folder).resolve()
    entries = cohort_entries(root, patients)
    order = _stratified(entries, seed)
    held_out = _evenly(order, count_of("test", test, len(order)))
    others = [patient for patient in order if patient not in held_out]
    if len(others) < folds:
        raise InputError(
            f"{root}: {len(others)} patient(s) are too few for {folds} folds, with {len(held_out)} in test; add "
            "patients, or take fewer folds"
        )
    names = [f"manifest_{number}of{folds}.json" for number in range(1, folds + 1)]
    manifests = [manifest_place(root, output, name) for name in names]
    set_aside(*manifests)
    for number, manifest in enumerate(manifests):
        fold = dict.fromkeys(held_out, "test") | dict.fromkeys(others, "train")
        fold |= dict.fromkeys(others[number::folds], "validation")
        cases = with_folds(root, manifest, entries, fold)
        write_json(manifest, {"version": 1, "seed": seed, "fold": [number + 1, folds], "cases": cases})
    return manifests


def _stratified(entries: Iterable[Mapping[str, Any]], seed: int) -> list[str]:
    """Return the patients in random order, those of one kind next to each other."""
    strata = strata_of(entries)
    names = list(strata)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    return sorted(order, key=strata.__getitem__)


def _evenly(order: Sequence[str], count: int) -> set[str]:
    """Choose some patients at even distances, so that of each stratum its share is chosen."""
    return {order[int((i + 0.5) * len(order) / count)] for i in range(min(count, len(order)))}
