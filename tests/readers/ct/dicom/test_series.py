"""What lies in one folder: cases 50, 53 to 55, faults 5 and 6 of the field check, and a download as it comes."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage

from readers import read_ct
from tests.readers.ct.ct_files import (
    AXIAL,
    FIRST,
    SLICES,
    bare,
    even_positions,
    refused,
    right,
    says,
    silent,
    slice_dataset,
    volume,
    write_nifti,
    write_series,
)
from tests.readers.radiographs.film_files import stored, thorax, write

CORONAL = np.array([[1.0, 0, 0], [0, 0, -1]])
HERE = np.array([-216, 0, 150.0])


def write_scout(
    folder, axes=CORONAL, image_type=("ORIGINAL", "PRIMARY", "LOCALIZER"), uid="2.25.3", name="0-scout.dcm"
):
    made = slice_dataset(HERE, 900, axes=axes)
    made.ImageType, made.SeriesInstanceUID = list(image_type), uid
    made.save_as(folder / name)


def test_a_download_as_it_comes(tmp_path):
    """Scouts, films, a report and stray files around one series, in folders below each other."""
    top = tmp_path / "patient"
    folder = write_series(top / "study" / "series 2")
    write_scout(folder)
    write_scout(folder, AXIAL, uid="2.25.2", name="axial scout in the same series.dcm")
    write(top / "study" / "film.dcm", stored(thorax((120, 100))), Modality="CR")
    write(top / "study" / "wrong.dcm", stored(thorax((120, 100))), Modality="CT")  # a DX image that says CT
    report = bare("1.2.840.10008.5.1.4.1.1.88.11", 700, pydicom.uid.ExplicitVRLittleEndian)
    report.Modality = "SR"
    report.save_as(top / "study" / "report")
    (top / "LICENSE").write_text("CC BY 3.0")
    (top / "._1-01.dcm").write_bytes(b"\0\5\x16\7" + b"\0" * 200)
    (top / "damaged.dcm").write_bytes(next(folder.glob("2-*")).read_bytes()[:300])
    scan = right(top)
    np.testing.assert_array_equal(scan.volume_hu, volume())
    for words in (
        f"{SLICES} axial slices of 40 x 55 over 300 mm",
        "2 scouts (localizers)",
        "1 images of the modality CR",
        "1 images of the class Digital X-Ray Image",
        "1 DICOM objects without an image",
        "2 files that are not DICOM",
    ):
        says(scan, "found", "series", words)
    says(scan, "doubt", "series", "1 damaged DICOM files are left out")


def test_a_scout_that_says_nothing_is_left_out(tmp_path):
    """Case 53."""
    folder = write_series(tmp_path / "ct")
    write_scout(folder, image_type=("ORIGINAL", "PRIMARY"), uid="2.25.2")
    scan = right(folder)
    says(scan, "found", "series", "left out: 1 CT images of another series")
    silent(scan)


def test_several_series_are_listed_and_one_is_chosen_by_a_file(tmp_path):
    """Case 50, fault 5."""
    folder = write_series(tmp_path / "ct")
    write_series(folder, even_positions(26, 12), uid="2.25.8")
    write_series(folder, even_positions(3), uid="2.25.9")  # too short for a chest, so it is not listed
    text = refused(folder, "holds 2 CT series: ")
    assert "31 axial slices of 40 x 55 over 300 mm (2-001.dcm)" in text
    assert "26 axial slices of 40 x 55 over 300 mm (8-001.dcm)" in text
    assert text.endswith("give a file of the one that is meant, or a folder that holds it alone")
    for number, count in ((2, SLICES), (8, 26)):
        assert right(folder / f"{number}-003.dcm").volume_hu.shape[2] == count


def test_a_series_in_several_folders(tmp_path):
    """Some archives put a hundred files into each folder; the caller knows the files, a scout among them."""
    folder = write_series(tmp_path / "ct")
    write_scout(folder, uid="2.25.2")
    files = sorted(folder.iterdir())
    (tmp_path / "more").mkdir()
    moved = [file.rename(tmp_path / "more" / file.name) for file in files[12:]]
    scan = read_ct(files[0], [*files[:12], *moved])
    np.testing.assert_array_equal(scan.volume_hu, volume())
    says(scan, "found", "series", "left out: 1 scouts")
    np.testing.assert_array_equal(read_ct(tmp_path).volume_hu, volume())


def test_reformats_under_the_same_series_are_listed(tmp_path):
    folder = write_series(tmp_path / "ct")
    coronal = even_positions(30, 10, np.array([-216.3, -150, 150]), CORONAL)
    names = range(100, 130)
    write_series(folder, coronal, axes=CORONAL, names=names, change=lambda d, i: setattr(d, "SOPInstanceUID", f"2.{i}"))
    text = refused(folder, "holds 2 CT series")
    assert "31 axial slices" in text
    assert "30 coronal slices" in text


@pytest.mark.parametrize("tag", ["Exposure", "XRayTubeCurrent", "AcquisitionNumber", "ConvolutionKernel"])
def test_a_series_is_not_split_by_exposure(tmp_path, tag):
    """Fault 6."""

    def change(dataset, i):
        setattr(dataset, tag, "B30" if tag == "ConvolutionKernel" else 100 + i // 7)

    silent(right(write_series(tmp_path / "ct", change=change)))


def test_slices_of_different_size_are_refused(tmp_path):
    """Case 54."""
    folder = write_series(tmp_path / "ct", change=lambda _, i: i != 5)
    small = slice_dataset(even_positions()[5], 5, hu=np.zeros((20, 30)))
    small.save_as(folder / "small.dcm")
    refused(folder, r"slices differ in size \(20 x 30, 40 x 55\)")

    def change(dataset, i):
        dataset.PixelSpacing = [8, 8.4] if i == 7 else [8, 8]

    refused(write_series(tmp_path / "spacing", change=change), "slices differ in PixelSpacing")


def test_folders_without_a_ct(tmp_path):
    """Case 55."""
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds no DICOM CT, but nothing; give the file of a CT, or a folder with its slices")
    (tmp_path / "empty" / "notes.txt").write_text("no CT")
    write_nifti(tmp_path / "empty" / "ct.nii.gz")
    refused(tmp_path / "empty", "holds no DICOM CT, but 2 files that are not DICOM")
    film = write(tmp_path / "film.dcm", stored(thorax((120, 100))))
    refused(film, "is no image of a CT, it belongs to: images of the modality DX")


def without(*keywords):
    def change(dataset, _):
        for keyword in keywords:
            delattr(dataset, keyword)

    return change


def test_without_positions_nothing_is_read(tmp_path):
    """Row 3: ITK took a step of 1 mm."""
    refused(
        write_series(tmp_path / "a", change=without("ImagePositionPatient")),
        r"31 of 31 images state no position \(ImagePositionPatient\), so their order and distance are unknown",
    )
    refused(write_series(tmp_path / "b", change=without("ImageOrientationPatient")), "state no usable axes")
    refused(write_series(tmp_path / "c", change=without("PixelSpacing")), "states no usable PixelSpacing")
    partly = write_series(tmp_path / "d", change=lambda d, i: without("ImagePositionPatient")(d, i) if i == 4 else None)
    refused(partly, "1 of 31 images state no position")


@pytest.mark.parametrize("value", [[0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 2, 0]])
def test_axes_that_are_no_axes_are_refused(tmp_path, value):
    def change(dataset, _):
        dataset.ImageOrientationPatient = value

    refused(write_series(tmp_path / "ct", change=change), "state no usable axes")


@pytest.mark.parametrize("value", [[0, 8], [-8, 8], [8]])
def test_a_spacing_that_is_none_is_refused(tmp_path, value):
    def change(dataset, _):
        dataset.PixelSpacing = value

    refused(write_series(tmp_path / "ct", change=change), "states no usable PixelSpacing")


def test_secondary_capture_with_positions_is_a_ct(tmp_path):
    """Row 3 (b)."""

    def change(dataset, _):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"

    silent(right(write_series(tmp_path / "ct", change=change)))


def test_files_without_preamble_and_tags_of_a_folder_of_a_hospital(tmp_path):
    folder = write_series(tmp_path / "ct", syntax=pydicom.uid.ImplicitVRLittleEndian)
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        del dataset.SOPClassUID
        with open(file, "wb") as out:
            pydicom.filewriter.write_dataset(_implicit(out), dataset)
    right(folder)


def _implicit(out):
    stream = pydicom.filebase.DicomFileLike(out)
    stream.is_implicit_VR = stream.is_little_endian = True
    return stream


def test_nothing_that_identifies_is_recorded(tmp_path):
    def change(dataset, _):
        dataset.PatientName, dataset.PatientID = "Quetzal^Xanthippe", "MRN-48151623"
        dataset.SeriesDescription = "Xanthippe thorax"

    scan = right(write_series(tmp_path / "ct", change=change))
    text = str(scan.record.to_list())
    assert not any(word in text for word in ("Quetzal", "Xanthippe", "MRN", "2.25", ".dcm"))
    assert CTImageStorage not in text
    np.testing.assert_allclose(scan.affine[:3, 3], FIRST * [-1, -1, 1], atol=1e-6)
