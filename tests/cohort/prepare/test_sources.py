"""What is found in a folder as an archive hands it out: series, scouts, films and files that are nothing."""

import json
from dataclasses import replace

from cohort import PrepareOptions, prepare_cohort
from cohort.prepare.sources import find_sources
from storage import key_of
from tests.readers.ct.ct_files import even_positions, write_nifti, write_series
from tests.readers.radiographs.film_files import stored, thorax, write


def change(patient, modality="CT"):
    def of_slice(dataset, _):
        dataset.PatientID = patient
        dataset.Modality = modality

    return of_slice


def download(folder):
    """Two patients: one with two series in four folders, a scout and a film; one with a NIfTI file."""
    write_series(folder / "LIDC-1" / "a", uid="2.25.11", change=change("Doe"))
    write_series(folder / "LIDC-1" / "scout", even_positions(2), uid="2.25.12", change=change("Doe"))
    write_series(folder / "LIDC-1" / "b", uid="2.25.13", change=change("Doe"), intercept=-1014)
    for number, file in enumerate(sorted((folder / "LIDC-1" / "b").iterdir())):
        if number % 2:
            (folder / "LIDC-1" / "rest").mkdir(exist_ok=True)
            file.rename(folder / "LIDC-1" / "rest" / file.name)
    write(folder / "LIDC-1" / "film.dcm", stored(thorax()))
    write_series(folder / "PET", uid="2.25.14", change=change("Doe", "PT"))
    write_nifti(folder / "other.nii.gz")
    (folder / "LICENSE").write_text("text")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "LIDC-1" / "half.dcm").write_bytes((folder / "LIDC-1" / "film.dcm").read_bytes()[:700])
    (folder / ".hidden").mkdir()
    write_nifti(folder / ".hidden" / "hidden.nii.gz")


def test_series_are_found_by_content_and_scouts_passed_over(tmp_path):
    download(tmp_path)
    found, refused = find_sources(tmp_path)
    assert refused == []
    assert {(one.kind, len(one.files)) for one in found} == {("dicom", 31), ("nii.gz", 1)}
    assert [one.case for one in found] == sorted([f"ct_{key_of('2.25.11')}", f"ct_{key_of('2.25.13')}", "other"])
    patients = {one.kind: one.patient for one in found}
    assert len({one.patient for one in found if one.kind == "dicom"}) == 1
    assert patients["dicom"] != patients["nii.gz"]
    assert "Doe" not in repr([replace(one, path=None, files=()) for one in found])


def test_an_archive_folder_becomes_a_cohort(tmp_path):
    download(tmp_path / "in")
    made = prepare_cohort(tmp_path / "in", tmp_path / "out", PrepareOptions(spacing=5.0, keep_table=True))
    assert made.refused == []
    assert [case["source"]["files"] for case in made.cases if case["source"]["kind"] == "dicom"] == [31, 31]
    folds = {case["patient"]: case["fold"] for case in json.loads(made.manifest.read_text())["cases"]}
    assert len(folds) == 2
    text = json.dumps(json.loads(made.manifest.read_text()))
    assert "2.25." not in text
    assert "Doe" not in text
