"""Split a cohort as the authors of X2CT-GAN did, by their lists of cases."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from conventions import InputError
from storage import set_aside, write_json

from .split import cohort_entries, folds_of, manifest_place, patient_of, with_folds

logger = logging.getLogger("x2ct.cohort")


def split_by_lists(
    folder: str | os.PathLike[str],
    train_list: str | os.PathLike[str],
    test_list: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    validation: float = 0.1,
    seed: int = 0,
    fix_leak: bool = False,
) -> Path:
    """Split a cohort by the authors' lists of training and test cases, and write the manifest.

    Their lists have no validation, and patient LIDC-IDRI-0442 is in both of them. Cases that are listed but missing,
    or that are in the cohort but not listed, are reported and left out.

    Args:
        folder: as in `split_cohort`; its cases are named as in the lists, such as LIDC-IDRI-0001.20000101.30178.
        train_list: text file with one case in each line.
        test_list: text file with one case in each line.
        output: as in `split_cohort`.
        validation: training patients that choose the best model: a number, or a share below 1.
        seed: seed of the choice of these.
        fix_leak: whether all cases of a patient in both lists are for training; without it such lists are refused.

    Returns:
        The manifest written.

    Raises:
        InputError: where a list cannot be read or lists a case twice, a patient is in both lists, or a list has no case
            in the cohort.
    """
    train, test, leaked = _read_lists(Path(train_list), Path(test_list), fix_leak)
    root = Path(folder).resolve()
    entries = cohort_entries(root)
    _report(root, {entry["case"] for entry in entries}, train | test)
    held_out = {entry["patient"] for entry in entries if entry["case"] in test}
    others = [entry for entry in entries if entry["case"] in train]
    for name, found in ((test_list, held_out), (train_list, others)):
        if not found:
            raise InputError(f"{root}: holds no case of {name}; name the CTs as the list does")
    try:
        fold = folds_of(others, test=0, validation=validation, seed=seed) | dict.fromkeys(held_out, "test")
    except InputError as error:
        raise InputError(f"{root}: {error}") from error
    manifest = manifest_place(root, output)
    kept = [entry for entry in entries if entry["case"] in train | test]
    cases = with_folds(root, manifest, kept, fold)
    set_aside(manifest)
    return write_json(manifest, {"version": 1, "seed": seed, "protocol": "x2ct", "moved": leaked, "cases": cases})


def _read_lists(train_list: Path, test_list: Path, fix_leak: bool) -> tuple[set[str], set[str], list[str]]:
    """Return the cases for training, those for testing, and which of the former the test list holds."""
    train, test = set(_read_list(train_list)), set(_read_list(test_list))
    both = sorted(train & test)
    if both:
        raise InputError(f"{test_list}: lists {both[0]}, and so does {train_list}; list each case once")
    shared = {patient_of(case) for case in train} & {patient_of(case) for case in test}
    leaked = sorted(case for case in test if patient_of(case) in shared)
    if leaked and not fix_leak:
        names = ", ".join(sorted({_patient_part(case) for case in leaked}))
        raise InputError(
            f"{test_list}: lists {', '.join(leaked)}, but {train_list} lists other cases of {names}, "
            "so a model would be measured on a patient that it has seen; give --fix_leak to move them to train"
        )
    if leaked:
        logger.warning("moved to train, since their patient is in both lists: %s", ", ".join(leaked))
    return train.union(leaked), test.difference(leaked), leaked


def _read_list(file: Path) -> list[str]:
    """Read the cases of a list, one in each line."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as text ({error}); give a list with one case in each line") from error
    cases = [line for line in lines if line]
    if not cases:
        raise InputError(f"{file}: lists no case; give a list with one case in each line")
    twice = next((case for number, case in enumerate(cases) if case in cases[:number]), None)
    if twice:
        raise InputError(f"{file}: lists {twice} twice; list each case once")
    return cases


def _patient_part(case: str) -> str:
    """Return the part of a case's name that names the patient."""
    return case[: len(patient_of(case))]


def _report(root: Path, cases: set[str], listed: set[str]) -> None:
    """Report the cases that are missing, and those that no list names."""
    for found, what in (
        (listed - cases, "of the listed cases are missing"),
        (cases - listed, "of its cases are in no list"),
    ):
        if found:
            logger.warning("%s: %d %s and left out, such as %s", root, len(found), what, min(found))
