"""What is found in a folder as an archive hands it out: series, scouts, films and files that are nothing."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from cohort import PrepareOptions, prepare_cohort
from cohort.prepare.sources import find_sources
from storage import key_of
from tests.readers.ct.ct_files import even_positions, write_nifti, write_series
from tests.readers.radiographs.film_files import stored, thorax, write


def change(patient, modality="CT"):
    def of_slice(dataset, _):
        dataset.PatientID = patient
        dataset.Modality = modality
        dataset.Manufacturer = " SIEMENS"

    return of_slice


def download(folder):
    """Two patients: one with two series in four folders, a scout and a film; one with a NIfTI file."""
    write_series(folder / "LIDC-1" / "a", uid="2.25.11", change=change("Doe"))
    write_series(folder / "LIDC-1" / "scout", even_positions(2), uid="2.25.12", change=change("Doe"))
    moved = even_positions() + np.array([0, 0, 7.5])
    write_series(folder / "LIDC-1" / "b", even_positions(), stated=moved, uid="2.25.13", change=change("Doe"))
    for number, file in enumerate(sorted((folder / "LIDC-1" / "b").iterdir())):
        if number % 2:
            (folder / "LIDC-1" / "rest").mkdir(exist_ok=True)
            file.rename(folder / "LIDC-1" / "rest" / file.name)
    write(folder / "LIDC-1" / "film.dcm", stored(thorax()))
    write_series(folder / "PET", uid="2.25.14", change=change("Doe", "PT"))
    write_nifti(folder / "other.nii.gz")
    write_nifti(folder / "copy.nii.gz")
    (folder / "LICENSE").write_text("text")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "LIDC-1" / "half.dcm").write_bytes((folder / "LIDC-1" / "film.dcm").read_bytes()[:700])
    (folder / ".hidden").mkdir()
    write_nifti(folder / ".hidden" / "hidden.nii.gz")


def test_series_are_found_by_content_and_scouts_passed_over(tmp_path):
    download(tmp_path)
    found = find_sources(tmp_path)
    assert found.refused == []
    assert {(one.kind, len(one.files)) for one in found.cts} == {("dicom", 31), ("nii.gz", 1)}
    names = ["copy", f"ct_{key_of('2.25.11')}", f"ct_{key_of('2.25.13')}", "other"]
    assert [one.case for one in found.cts] == sorted(names)
    patients = {one.kind: one.patient for one in found.cts}
    assert len({one.patient for one in found.cts if one.kind == "dicom"}) == 1
    assert patients["dicom"] != patients["nii.gz"]
    assert "Doe" not in repr([replace(one, path=None, files=()) for one in found.cts])
    assert (found.films, found.films_left_out) == ([], 2)  # they state no patient
    assert {(one.kind, one.manufacturer) for one in found.cts} == {("dicom", "SIEMENS"), ("nii.gz", "")}


def test_hdf5_files_are_cases_among_others(tmp_path):
    write_nifti(tmp_path / "ct.nii.gz")
    for name in ("LIDC-IDRI-0001.1.2/ct_xray_data.h5", "other.HDF5"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n")
    found = {one.case: one.kind for one in find_sources(tmp_path).cts}
    assert found == {"ct": "nii.gz", "LIDC-IDRI-0001.1.2": "h5", "other": "h5"}


def test_an_archive_folder_becomes_a_cohort(tmp_path):
    download(tmp_path / "in")
    made = prepare_cohort(tmp_path / "in", tmp_path / "out", PrepareOptions(spacing=5.0, keep_table=True))
    # The first series and both NIfTI files hold the same chest in the same place, so one of the three is kept.
    first, second = f"ct_{key_of('2.25.11')}", f"ct_{key_of('2.25.13')}"
    assert [case["case"] for case in made.cases] == sorted(["copy", second])
    assert sorted(reason for _, reason in made.refused) == ["is the same image as copy, and is left out"] * 2
    assert {tmp_path / "in" / "other.nii.gz"} < {Path(path) for path, _ in made.refused}
    assert [case["source"]["manufacturer"] for case in made.cases if case["case"] == second] == ["SIEMENS"]
    assert first not in made.manifest.read_text()
    text = json.dumps(json.loads(made.manifest.read_text()))
    assert "2.25." not in text
    assert "Doe" not in text
