"""A folder as from a download, tried as a new user would: what comes in, what is refused, what is left out."""

import json
import shutil
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from cohort import PrepareOptions, prepare_cohort, validate_cohort
from tests.film_phantom import films as phantom_films
from tests.readers.radiographs.film_files import IDENTIFYING, stored, write

LATERAL = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}


def film(path, number, patient, view=0, **tags):
    """Write a synthetic DX image of a phantom; views 0 and 1 are PA and lateral."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = {**IDENTIFYING, "SOPInstanceUID": f"2.25.8{number}", "PatientID": patient, **tags}
    return write(path, stored(phantom_films(1)[view]), **tags)


def other_object(like, path, sop_class, modality):
    """Write a DICOM object without pixels, with the patient of another file."""
    made = pydicom.dcmread(like, stop_before_pixels=True)
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = sop_class
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid(entropy_srcs=[modality])
    made.Modality, made.SeriesInstanceUID = modality, generate_uid(entropy_srcs=["series", modality])
    for keyword in ("Rows", "Columns"):
        delattr(made, keyword)
    made.save_as(path)


def scouts(like, folder):
    """Write two localizers beside the slices, one of them in their series."""
    for number, series in enumerate((None, "2.25.70")):
        made = pydicom.dcmread(like)
        made.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        made.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"2.25.71{number}"
        made.SeriesInstanceUID = series or made.SeriesInstanceUID
        made.save_as(folder / f"0-{number}.dcm")


def download(real_data, folder):
    """The RIDER series, scouts, films of its patient and of a second one, other objects and stray files."""
    series = folder / "RIDER" / "RIDER-0109" / "study" / "ct"
    shutil.copytree(real_data / "original" / "rider_pilot_0109_dicom", series, copy_function=shutil.copyfile)
    series.chmod(0o755)
    like = sorted(series.iterdir())[0]
    scouts(like, series)
    patient = str(pydicom.dcmread(like, stop_before_pixels=True).PatientID)
    films = series.parent.parent / "films"
    film(films / "1-1.dcm", 1, patient, StudyDate="20000312")
    film(films / "1-2.dcm", 2, patient, 1, StudyDate="20000308", **LATERAL)
    film(films / "1-3.dcm", 3, patient, Modality="CR", NumberOfFrames=7)
    film(folder / "RIDER" / "RIDER-0200" / "1-1.dcm", 4, "second")
    film(folder / "RIDER" / "RIDER-0200" / "1-2.dcm", 5, "second", 1, **LATERAL)
    other_object(like, folder / "RIDER" / "sr.dcm", "1.2.840.10008.5.1.4.1.1.88.33", "SR")
    other_object(like, folder / "RIDER" / "seg.dcm", "1.2.840.10008.5.1.4.1.1.66.4", "SEG")
    other_object(like, folder / "RIDER" / "DICOMDIR", "1.2.840.10008.1.3.10", "")
    (folder / "LICENSE").write_text("CC BY 3.0")
    (folder / "metadata.csv").write_text("Series UID,Collection\n")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(100))
    (folder / "RIDER" / "RIDER-0109" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(100))
    (folder / "annotations.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "empty.dcm").write_bytes(b"")
    return patient


@pytest.mark.slow
def test_a_folder_as_from_a_download_becomes_what_it_holds(real_data, tmp_path):
    patient = download(real_data, tmp_path / "in")
    made = prepare_cohort(tmp_path / "in", tmp_path / "out", PrepareOptions(spacing=2.5))
    (case,) = made.cases
    assert case["source"]["files"] == 64
    assert case["source"]["shape"] == [512, 512, 63]  # one place was scanned twice
    assert [(film["view"], film["days"]) for film in sorted(case["films"], key=lambda film: film["view"])] == [
        ("lateral", -2), ("pa", 2)
    ]  # fmt: skip
    assert [(Path(path).name, reason.partition(": ")[2]) for path, reason in made.refused] == [
        ("1-3.dcm", "holds 7 frames (multi-frame), not one radiograph; export one frame")
    ]
    assert made.films_left_out == 2
    assert validate_cohort(made.manifest) == []
    files = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*") if file.is_file()}
    names = [case["case"], *(Path(film["film"]).stem for film in case["films"])]
    assert files == {
        "manifest.json", case["ct"], *(film["film"] for film in case["films"]), *(f"records/{n}.json" for n in names)
    }  # fmt: skip
    written = json.dumps(json.loads(made.manifest.read_text()))
    assert not [word for word in (patient, "20000310", *IDENTIFYING.values()) if word in written]
