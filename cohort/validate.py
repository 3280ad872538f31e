"""Prove that a cohort is what its manifest says, and that no patient crosses from one fold to another."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from tqdm import tqdm

from conventions import InputError
from storage import digest_of

from .split import FOLDS, manifest_of


def validate_cohort(manifest: str | os.PathLike[str]) -> list[str]:
    """Check every file of a cohort against its manifest, and that folds share nothing.

    Args:
        manifest: manifest of `python -m cohort prepare` or `split`, or the folder that holds it.

    Returns:
        What is wrong, one sentence each; empty where nothing is. Checked are: each CT is there, is readable, has the
        SHA-256 and the shape that the manifest states; each film is there and has its SHA-256; no patient, no series,
        no identical image and no identical film lies in two folds, whatever it is named.

    Raises:
        InputError: where there is no manifest.
    """
    path = manifest_of(manifest)
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no manifest ({error!r}); write one with: python -m cohort split") from error
    wrong: list[str] = []
    same: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in ("patient", "series", "image", "film")}
    example: dict[tuple[str, str], str] = {}
    for case in tqdm(cases, desc="checking", unit="case"):
        name, fold = case["case"], case["fold"]
        if fold not in FOLDS:
            wrong.append(f"{name}: is in fold {fold!r}, which is none of {', '.join(FOLDS)}")
        fault, image = _check_file(path.parent / case["ct"], case)
        films = case.get("films", [])
        faults = [fault, *(_check_film(path.parent / film["film"], film) for film in films)]
        wrong += [f"{name}: {fault}" for fault in faults if fault]
        shared = [("patient", case["patient"]), ("series", case.get("source", {}).get("series", "")), ("image", image)]
        for kind, key in [*shared, *(("film", film["sha256"]) for film in films)]:
            if key:
                same[kind][key].add(fold)
                example.setdefault((kind, key), name)
    for kind, keys in same.items():
        for key, folds in keys.items():
            if len(folds) > 1:
                wrong.append(f"{example[kind, key]}: its {kind} is in several folds: {', '.join(sorted(folds))}")
    return wrong


def _check_film(file: Path, film: dict[str, Any]) -> str:
    """Return what is wrong with a film, empty where nothing is."""
    if not file.is_file():
        return f"{file} does not exist"
    return "" if digest_of(file) == film["sha256"] else f"{file} is not the film that was prepared (SHA-256)"


def _check_file(file: Path, case: dict[str, Any]) -> tuple[str, str]:
    """Return what is wrong with the CT of a case, and a digest of its voxels; both may be empty."""
    if not file.is_file():
        return f"{file} does not exist", ""
    if "sha256" in case and digest_of(file) != case["sha256"]:
        return f"{file} is not the file that was prepared (SHA-256)", ""
    if not file.name.endswith((".nii", ".nii.gz")):
        return "", digest_of(file)
    try:
        voxels = np.asarray(nibabel.load(file).dataobj)
    except Exception as error:  # nibabel raises whatever the broken bytes happen to cause
        return f"{file} cannot be read ({' '.join(str(error).split())})", ""
    return "", _digest_of_array(voxels)


def _digest_of_array(voxels: np.ndarray) -> str:
    """Return a digest of voxel values as whole HU, which a copy in another data type shares."""
    return hashlib.sha256(np.ascontiguousarray(np.rint(voxels).astype(np.int16)).tobytes()).hexdigest()
