"""`python -m cohort`: download, make and split cohorts, and measure the film reference. Each command has `--help`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from conventions import InputError, run_command
from readers import REFERENCE_FILE
from reports import write_cohort_page

from .download import plan_download, transfer
from .film_reference import make_reference
from .kfold import split_into_folds
from .phantoms import write_phantoms
from .prepare import PrepareOptions, plan_cohort, prepare_cohort
from .public_index import PublicIndex
from .split import FOLDS, split_cohort
from .validate import validate_cohort
from .x2ct_hdf5 import cohort_to_hdf5
from .x2ct_lists import split_by_lists

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
    folds: int | None = None,
    protocol: str | None = None,
    train_list: str | None = None,
    test_list: str | None = None,
    fix_leak: bool = False,
) -> None:
    """Split the CT files of a folder by patient and write the manifest.

    Examples:
        python -m cohort split FOLDER --test 30 --validation 10
        python -m cohort split FOLDER --folds 5 --test 0
        python -m cohort split FOLDER --protocol x2ct --train_list train.txt --test_list test.txt --fix_leak

    Args:
        folder: folder of the CT files (NIfTI, MHA, MHD, NRRD), one per case, or of a prepared cohort.
        output: manifest to write; by default manifest.json in the folder.
        test: patients held out for evaluation: a number, or a share below 1.
        validation: patients that choose the best model: a number, or a share below 1.
        seed: seed of the random split.
        patients: JSON file with an object {patient: [file names]}; by default patients are recognised by file name.
        folds: number of folds for cross-validation, each with a manifest such as manifest_1of5.json in which it is for
            validation; --test is held out from all of them, and --validation is not used.
        protocol: x2ct, to split by the lists of the authors of X2CT-GAN; --validation is taken from training.
        train_list: with --protocol, their text file of training cases, one in each line.
        test_list: with --protocol, their text file of test cases.
        fix_leak: with --protocol, move the cases of a patient in both lists to training, instead of refusing them.
    """
    if protocol is not None:
        if protocol != "x2ct" or not train_list or not test_list or folds is not None or patients is not None:
            raise InputError(
                "--protocol is x2ct, with --train_list FILE and --test_list FILE, without --folds and --patients"
            )
        manifests = [split_by_lists(folder, train_list, test_list, output, validation, seed, fix_leak)]
    elif train_list or test_list or fix_leak:
        raise InputError("--train_list, --test_list and --fix_leak belong to --protocol x2ct; give it too")
    elif folds is not None:
        manifests = split_into_folds(folder, folds, output, test, seed, patients)
    else:
        manifests = [split_cohort(folder, output, test, validation, seed, patients)]
    for manifest in manifests:
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

    Radiographs (DICOM) of the same patients are read, checked, and listed with the CTs. A run that was interrupted goes
    on where it was. Ends with 3 where something was refused; the table at the end says why.

    Args:
        source: folder with DICOM series, NIfTI, MHA, MHD, NRRD files and HDF5 files of the authors of X2CT-GAN in any
            mixture, a pattern with *, or a text file with one path in each line.
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
        films = {film["film"] for case in made.cases for film in case.get("films", [])}
        with_films = f" and {len(films)} films of the same patients" if films else ""
        print(f"{made.manifest}: {len(made.cases)} CTs, {len(doubted)} of them with doubts{with_films}; look at {page}")
    if made.films_left_out:
        print(f"{made.films_left_out} films of patients without a CT here are left out")
    _end(made.refused)


def to_hdf5(cohort: str, destination: str) -> None:
    """Write a cohort as HDF5 files that the code of the authors of X2CT-GAN reads, with its lists of cases.

    Ends with 3 where CTs were refused; the table at the end says why.

    Args:
        cohort: manifest, or the folder that holds it.
        destination: folder to write to: CASE/ct_xray_data.h5, train.txt, validation.txt, test.txt.
    """
    files, refused = cohort_to_hdf5(cohort, destination)
    print(f"{len(files)} HDF5 files in {destination}")
    _end(refused)


def _end(refused: Sequence[tuple[str, str]]) -> None:
    """Print what was refused and why, and end with `REFUSED` where something was."""
    for path, reason in refused:
        print(f"refused: {reason if path in reason else f'{path}: {reason}'}")
    if refused:
        print(f"{len(refused)} refused")
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
            "to-hdf5": to_hdf5,
            "split": split,
            "validate": validate,
            "reference": reference,
        },
        "cohort",
    )
