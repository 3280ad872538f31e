"""Split a folder of CT files by patient and write the manifest."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conventions import InputError
from readers import CT_SUFFIXES
from storage import set_aside, write_json

FOLDS = ("train", "validation", "test")
"""Names of the folds of a manifest."""

MANIFEST_NAME = "manifest.json"
"""Name of the manifest in the folder of the CTs."""

_LIDC = re.compile(r"(lidc-idri-\d{4})\.")


def manifest_of(path: str | os.PathLike[str]) -> Path:
    """Return the manifest that is meant: the file itself, or the one in a folder."""
    return Path(path) / MANIFEST_NAME if Path(path).is_dir() else Path(path)


def patient_of(file_name: str) -> str:
    """Return the patient whom the name of a CT file identifies, in lower case.

    `sub-01_ses-2_ct.nii.gz` (BIDS) belongs to `sub-01`, `smith__followup.nii.gz` to `smith`, and
    `LIDC-IDRI-0442.20000101.1.nii.gz`, as the authors of X2CT-GAN name their cases, to `lidc-idri-0442`; any other file
    is a patient of its own.
    """
    name = case_of(file_name).lower()
    lidc = _LIDC.match(name)
    if lidc:
        return lidc[1]
    return name.split("_")[0] if name.startswith("sub-") else name.split("__")[0]


def case_of(file_name: str) -> str:
    """Return the name of a case: the name of its file without suffix."""
    suffix = max((s for s in CT_SUFFIXES if file_name.lower().endswith(s)), key=len, default="")
    return file_name[: len(file_name) - len(suffix)]


def _find_cases(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the folder that holds the CT files")
    files = sorted(p for p in folder.glob("[!.]*") if p.name.lower().endswith(CT_SUFFIXES))
    if not files:
        raise InputError(
            f"{folder}: holds no CT file ({', '.join(CT_SUFFIXES)}); put the CTs into it, one file per case"
        )
    cases = [case_of(file.name) for file in files]
    twice = sorted({case for case in cases if cases.count(case) > 1})
    if twice:
        raise InputError(f"{folder}: case {twice[0]!r} exists in two formats; keep one of the two files")
    return files


def _read_patients(path: Path, files: list[Path]) -> dict[str, str]:
    """Read a JSON object {patient: [file names]} and return file name -> patient."""
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as JSON ({error}); give an object of patients and their files"
        ) from error
    if not isinstance(listed, dict) or not all(isinstance(names, list) for names in listed.values()):
        raise InputError(f"{path}: must be an object of patients, each with the list of its file names")
    patient: dict[str, str] = {}
    for name, file_names in listed.items():
        for file_name in file_names:
            if patient.setdefault(str(file_name), name) != name:
                raise InputError(f"{path}: {file_name} is listed for two patients; list every file once")
    unlisted = [file.name for file in files if file.name not in patient]
    if unlisted:
        raise InputError(f"{path}: lists no patient for {unlisted[0]} ({len(unlisted)} such files); list every file")
    return patient


def check_patients(manifest: Path, patients: str | os.PathLike[str]) -> None:
    """Refuse a list of patients that an existing manifest does not follow.

    Args:
        manifest: manifest that `split_cohort` wrote.
        patients: as in `split_cohort`.

    Raises:
        InputError: where a file belongs to another patient, or the list cannot be read.
    """
    try:
        cases = json.loads(manifest.read_text(encoding="utf-8"))["cases"]
        split = {Path(case["ct"]): case["patient"] for case in cases}
    except (ValueError, KeyError, TypeError):
        return  # `load_datalist` refuses such a file
    listed = _read_patients(Path(patients), list(split))
    for file, patient in split.items():
        if patient != listed[file.name]:
            raise InputError(
                f"{manifest}: was split with {file.name} under another patient than in {patients}; remove this "
                "manifest, or leave out --patients"
            )


def count_of(fold: str, share: float, patients: int) -> int:
    """Turn a number (1 or more) or a share (below 1) of patients into a number, at least one unless 0 is asked for.

    Args:
        fold: named in the error.
        share: a number of patients, or a share of them.
        patients: number of all patients.

    Raises:
        InputError: where the share is neither.
    """
    is_number = isinstance(share, (int, float)) and not isinstance(share, bool)
    if not is_number or share < 0 or (share > 1 and share != int(share)):
        raise InputError(f"{fold} must be a number of patients or a share below 1, got {share!r}")
    return int(share) if share >= 1 else max(1, round(share * patients)) if share > 0 else 0


def check_seed(seed: int) -> None:
    """Refuse a seed that is no integer from 0 up."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed must be an integer from 0 up, got {seed!r}")


def strata_of(entries: Iterable[Mapping[str, Any]]) -> dict[str, tuple[list[str], list[str]]]:
    """Find the kind of each patient: what the CTs cut off, and who made the scanners, where these are known.

    Args:
        entries: cases of a manifest.

    Returns:
        Patient -> (what is cut off, manufacturers in lower case), by name of the patient.
    """
    cut: dict[str, set[str]] = {}
    makers: dict[str, set[str]] = {}
    for entry in entries:
        cut.setdefault(entry["patient"], set()).update(entry.get("cut", ()))
        maker = entry.get("source", {}).get("manufacturer", "").casefold()
        makers.setdefault(entry["patient"], set()).update([maker] if maker else [])
    return {patient: (sorted(cut[patient]), sorted(makers[patient])) for patient in sorted(cut)}


def folds_of(
    entries: Iterable[Mapping[str, Any]], test: float = 0.2, validation: float = 0.1, seed: int = 0
) -> dict[str, str]:
    """Assign each patient to a fold at random, so that each fold has about its share of each kind (`strata_of`).

    Args:
        entries: cases of a manifest, with `patient`.
        test: patients held out for evaluation: a number, or a share below 1.
        validation: patients that choose the best model during training: a number, or a share below 1.
        seed: seed of the random split.

    Returns:
        Patient -> fold.

    Raises:
        InputError: where there are too few patients, or an argument is not possible.
    """
    check_seed(seed)
    strata = strata_of(entries)
    names = list(strata)
    counts = {"test": count_of("test", test, len(names)), "validation": count_of("validation", validation, len(names))}
    if sum(counts.values()) >= len(names):
        raise InputError(
            f"{len(names)} patient(s) are too few for {counts['test']} in test, {counts['validation']} in "
            "validation and at least one in training; add patients or hold out fewer"
        )
    order = _interleaved(strata, np.random.default_rng(seed))
    fold = dict.fromkeys(names, "train")
    fold |= dict.fromkeys(order[: counts["test"]], "test")
    return fold | dict.fromkeys(order[counts["test"] : sum(counts.values())], "validation")


def _interleaved(strata: Mapping[str, tuple[list[str], list[str]]], rng: np.random.Generator) -> list[str]:
    """Return the patients in random order, any part of which holds each kind by its share."""
    names = list(strata)
    members: dict[str, list[str]] = {}
    for i in rng.permutation(len(names)):
        members.setdefault(str(strata[names[i]]), []).append(names[i])
    place: dict[str, float] = {}
    for kind in sorted(members):
        offset = rng.random()  # so that a rare kind is as likely in any fold as a frequent one
        place |= {name: (i + offset) / len(members[kind]) for i, name in enumerate(members[kind])}
    return sorted(names, key=place.__getitem__)


def split_cohort(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
    patients: str | os.PathLike[str] | None = None,
) -> Path:
    """Split the CTs of a folder by patient and write the manifest that training and evaluation read.

    Patients of a prepared cohort are stratified (`strata_of`).

    Args:
        folder: folder of the CT files (NIfTI, MHA, MHD, NRRD), one per case; or a cohort that `cohort prepare` made,
            whose entries stay but for their folds.
        output: manifest to write, or a folder for it; by default the folder of the CTs. An existing one is renamed.
        test: patients held out for evaluation: a number, or a share below 1.
        validation: patients that choose the best model during training: a number, or a share below 1.
        seed: seed of the random split.
        patients: JSON file with an object {patient: [file names]}; by default patients are recognised by file name
            (`patient_of`).

    Returns:
        The manifest written.

    Raises:
        InputError: where there are no cases, too few patients for the folds, or the manifest cannot be written.
    """
    root = Path(folder).resolve()
    entries = cohort_entries(root, patients)
    try:
        fold = folds_of(entries, test, validation, seed)
    except InputError as error:
        raise InputError(f"{root}: {error}") from error
    manifest = manifest_place(root, output)
    content = {"version": 1, "seed": seed, "cases": with_folds(root, manifest, entries, fold)}
    set_aside(manifest)
    return write_json(manifest, content)


def cohort_entries(root: Path, patients: str | os.PathLike[str] | None = None) -> list[dict[str, Any]]:
    """List the cases of a folder of CTs, or of a prepared cohort.

    Args:
        root: as `folder` in `split_cohort`.
        patients: as in `split_cohort`.

    Returns:
        Entries of a manifest whose `ct` is relative to the folder; those of a prepared cohort hold all that is known.

    Raises:
        InputError: where there are no cases, or the patients cannot be read.
    """
    entries = _prepared(root)
    if entries is None:
        files = _find_cases(root)
        listed = _read_patients(Path(patients), files) if patients is not None else None
        return [
            {
                "case": case_of(file.name),
                "patient": listed[file.name] if listed else patient_of(file.name),
                "ct": file.name,
            }
            for file in files
        ]
    if patients is not None:
        raise InputError(f"{root}: was prepared, so its patients are known; leave out --patients")
    return entries


def manifest_place(root: Path, output: str | os.PathLike[str] | None, name: str = MANIFEST_NAME) -> Path:
    """Return where a manifest is written.

    Args:
        root: folder of the CTs.
        output: as in `split_cohort`.
        name: name of the manifest in a folder.

    Raises:
        InputError: where it would lie in the folder of the CTs, and that cannot be written to.
    """
    if output is None and not os.access(root, os.W_OK):
        raise InputError(f"{root}: cannot be written to; give --output FILE, a manifest in another folder")
    manifest = Path(output).resolve() if output is not None else root
    return manifest / name if manifest.is_dir() else manifest


def with_folds(
    root: Path, manifest: Path, entries: Iterable[Mapping[str, Any]], fold: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the cases of a manifest.

    Args:
        root: folder of the CTs.
        manifest: where the manifest will lie.
        entries: from `cohort_entries`.
        fold: patient -> fold.
    """
    return [
        {
            **entry,
            "ct": _place(root / entry["ct"], manifest.parent),
            **_placed_films(root, manifest, entry),
            "fold": fold[entry["patient"]],
        }
        for entry in entries
    ]


def _placed_films(root: Path, manifest: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the films of an entry, where it has some, relative to the manifest."""
    if "films" not in entry:
        return {}
    return {"films": [{**film, "film": _place(root / film["film"], manifest.parent)} for film in entry["films"]]}


def _prepared(root: Path) -> list[dict[str, Any]] | None:
    """Return the entries of a cohort that `cohort prepare` made; None for a folder of CTs."""
    try:
        cases = json.loads((root / MANIFEST_NAME).read_text(encoding="utf-8"))["cases"]
        return list(cases) if all("sha256" in case for case in cases) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(file: Path, base: Path) -> str:
    return (file.relative_to(base) if file.is_relative_to(base) else file).as_posix()
