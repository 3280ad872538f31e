"""`python -m cohort`: make and split cohorts. Ask for `--help` after a command."""

from __future__ import annotations

import json
import logging

import fire

from conventions import report_input_errors

from .generate import write_phantoms
from .split import FOLDS, split_cohort


def phantom(folder: str, cases: int = 40, seed: int = 0, size: int = 128) -> None:
    """Write a cohort of procedural thorax phantoms.

    Args:
        folder: where to write; phantoms that are there already are kept.
        cases: number of phantoms.
        seed: of the first one.
        size: voxels a side of the 320 mm cube.
    """
    files = write_phantoms(str(folder), cases, seed, size)
    print(f"{len(files)} phantoms in {folder}")


def split(
    folder: str,
    output: str | None = None,
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
    patients: str | None = None,
) -> None:
    """Split the CT files of a folder by patient and write the manifest.

    Args:
        folder: holds the CT files (.nii, .nii.gz), one a case.
        output: manifest to write; manifest.json in the folder by default.
        test: patients held out: a number, or a share below 1.
        validation: patients that choose the best model: a number, or a share below 1.
        seed: of the random choice.
        patients: JSON object {patient: [file names]}; by default the file names say who is who.
    """
    manifest = split_cohort(
        str(folder),
        None if output is None else str(output),
        test,
        validation,
        seed,
        None if patients is None else str(patients),
    )
    cases = json.loads(manifest.read_text(encoding="utf-8"))["cases"]
    print(manifest)
    for fold in FOLDS:
        seen = [case["patient"] for case in cases if case["fold"] == fold]
        print(f"  {fold:<11} {len(seen)} cases of {len(set(seen))} patients")


if __name__ == "__main__":
    report_input_errors()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fire.Fire({"phantom": phantom, "split": split}, name="cohort")
