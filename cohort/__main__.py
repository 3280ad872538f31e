"""`python -m cohort`: make and split cohorts, and measure the film reference. Each command has `--help`."""

from __future__ import annotations

import json

from conventions import run_command
from readers import REFERENCE_FILE

from .film_reference import make_reference
from .phantoms import write_phantoms
from .split import FOLDS, split_cohort

_REFERENCE = str(REFERENCE_FILE)


def phantom(folder: str, cases: int = 40, seed: int = 0, size: int = 128) -> None:
    """Write a cohort of procedural thorax phantoms.

    Args:
        folder: output folder; existing phantoms are kept.
        cases: number of phantoms.
        seed: seed of the first phantom; the others count up from it.
        size: voxels per side of the 320 mm cube.
    """
    files = write_phantoms(folder, cases, seed, size)
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
        folder: folder of the CT files (NIfTI, MHA, MHD, NRRD), one per case.
        output: manifest to write; by default manifest.json in the folder.
        test: patients held out for evaluation: a number, or a share below 1.
        validation: patients that choose the best model: a number, or a share below 1.
        seed: seed of the random split.
        patients: JSON file with an object {patient: [file names]}; by default patients are recognised by file name.
    """
    manifest = split_cohort(folder, output, test, validation, seed, patients)
    cases = json.loads(manifest.read_text(encoding="utf-8"))["cases"]
    print(manifest)
    for fold in FOLDS:
        seen = [case["patient"] for case in cases if case["fold"] == fold]
        print(f"  {fold:<11} cases: {len(seen):<5} patients: {len(set(seen))}")


def reference(folder: str, output: str = _REFERENCE) -> None:
    """Measure in DRRs where the lungs are, what the mean thorax looks like and how its tones are distributed.

    Args:
        folder: folder of whole-chest CTs in NIfTI format; takes 2 s per CT.
        output: JSON file to write; an existing one is renamed.
    """
    print(f"wrote {make_reference(folder, output)}")


if __name__ == "__main__":
    run_command({"phantom": phantom, "split": split, "reference": reference}, "cohort")
