"""`python -m cohort`: download, make and split cohorts, and measure the film reference. Each command has `--help`."""

from __future__ import annotations

import json
import sys

from conventions import InputError, run_command
from readers import REFERENCE_FILE
from reports import write_cohort_page

from .download import plan_download, transfer
from .film_reference import make_reference
from .phantoms import write_phantoms
from .prepare import PrepareOptions, plan_cohort, prepare_cohort
from .public_index import PublicIndex
from .split import FOLDS, split_cohort
from .validate import validate_cohort

REFUSED = 3
"""Exit status of a preparation that refused a CT."""

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


def download(
    collection: str | None = None,
    destination: str | None = None,
    cases: int | None = None,
    with_films: bool = False,
    scans: int = 1,
    seed: int = 0,
    dry_run: bool = False,
    list: bool = False,
) -> None:
    """Download chest CTs of a public collection of the Imaging Data Commons, for `prepare`.

    What is there whole is kept, so the same command goes on where it was interrupted. Licences and citations are
    written next to the data.

    Args:
        collection: collection, such as lidc_idri.
        destination: folder of the data; a folder with the name of the collection is made in it.
        cases: number of patients, chosen at random by the seed; by default all.
        with_films: take chest films too, of the day nearest to the CT; patients who have films come first.
        scans: CT series of each patient, at most; those with most slices come first.
        seed: seed of the choice of patients.
        dry_run: say what would be downloaded, and end.
        list: list the collections with chest CTs, and end.
    """
    index = PublicIndex()
    if list:
        print(f"{'collection':<30}{'patients':>9}{'CTs':>8}{'with films':>12}{'GB':>9}  licence")
        for one in index.collections():
            figures = f"{one.patients:>9}{one.series:>8}{one.with_films:>12}{one.gigabytes:>9.1f}"
            print(f"{one.name:<30}{figures}  {', '.join(one.licences)}")
        return
    if collection is None or destination is None:
        raise InputError("name a collection and a folder; python -m cohort download --list lists the collections")
    planned = plan_download(index, collection, destination, cases, with_films, scans, seed)
    print(planned.describe())
    if not dry_run:
        transfer(planned, index.sources(planned.series[0].collection), destination)
        print(f"{destination}: complete; go on with: python -m cohort prepare {destination} COHORT")


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


def prepare(
    source: str,
    destination: str,
    spacing: float = 1.0,
    keep_table: bool = False,
    licence: str = "",
    jobs: int = 1,
    part: str | None = None,
    scheduler: str | None = None,
    seed: int = 0,
    dry_run: bool = False,
) -> None:
    """Prepare every chest CT below a folder for training: checked, straightened, without the table, split by patient.

    A run that was interrupted goes on where it was. Ends with 3 where CTs were refused; the table at the end says why.

    Args:
        source: folder with DICOM series, NIfTI, MHA, MHD and NRRD files in any mixture, a pattern with *, or a text
            file with one path in each line.
        destination: folder of the cohort, for --dataset_dir.
        spacing: voxel spacing of the volumes in mm.
        keep_table: keep what is not the patient.
        licence: licence of the data, in words, for the manifest.
        jobs: number of processes; each needs the memory of one scan.
        part: i/n, the part i of n (from 0), for job arrays with one destination.
        scheduler: address of a Dask scheduler, in place of processes.
        seed: seed of the split into folds.
        dry_run: say what would be done and how long it takes, and do nothing.
    """
    if dry_run:
        print(plan_cohort(source, destination, jobs))
        return
    made = prepare_cohort(
        source, destination, PrepareOptions(float(spacing), keep_table, licence), jobs, part, scheduler, seed
    )
    doubted = [case for case in made.cases if any(one["kind"] == "doubt" for one in case["decisions"])]
    if made.cases:
        page = write_cohort_page(made.manifest, made.refused)
        print(f"{made.manifest}: {len(made.cases)} CTs, {len(doubted)} of them with doubts; look at {page}")
    for path, reason in made.refused:
        print(f"refused: {reason if path in reason else f'{path}: {reason}'}")
    if made.refused:
        print(f"{len(made.refused)} refused")
        sys.exit(REFUSED)


def validate(manifest: str) -> None:
    """Check every file of a cohort against its manifest, and that no patient, series or image lies in two folds.

    Ends with 1 where something is wrong.

    Args:
        manifest: the manifest, or the folder that holds it.
    """
    wrong = validate_cohort(manifest)
    for sentence in wrong:
        print(sentence)
    print(f"{manifest}: {f'{len(wrong)} faults' if wrong else 'every file is as it was, and no fold shares a patient'}")
    if wrong:
        sys.exit(1)


def reference(folder: str, output: str = _REFERENCE) -> None:
    """Measure in DRRs where the lungs are, what the mean thorax looks like and how its tones are distributed.

    Args:
        folder: folder of whole-chest CTs in NIfTI format; takes 2 s per CT.
        output: JSON file to write; an existing one is renamed.
    """
    print(f"wrote {make_reference(folder, output)}")


if __name__ == "__main__":
    run_command(
        {
            "download": download,
            "phantom": phantom,
            "prepare": prepare,
            "split": split,
            "validate": validate,
            "reference": reference,
        },
        "cohort",
    )
