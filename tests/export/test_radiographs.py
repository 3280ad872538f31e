import json

import itk
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from conventions import DRR_STATEMENT, InputError, MarkKind, read_mark
from export import new_uid, write_dicom_radiograph, write_png16, write_radiograph_nifti

IMAGE = np.random.default_rng(0).uniform(0, 1, (6, 8)).astype(np.float32)
IMAGE[0, 0], IMAGE[5, 7] = 0, 1


def test_a_png_keeps_sixteen_bits(tmp_path):
    pixels = np.asarray(Image.open(write_png16(tmp_path / "pa.png", IMAGE)))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, np.rint(IMAGE * 65535))


def test_only_a_drr_is_marked(tmp_path):
    with Image.open(write_png16(tmp_path / "drr.png", IMAGE, {"geometry": "chest", "ct": "Quetzal.nii"})) as image:
        assert read_mark(image.text["X2CT"]).geometry == "chest"
        assert "Quetzal" not in image.text["X2CT"]
    with Image.open(write_png16(tmp_path / "film.png", IMAGE, computed=False)) as image:
        assert not image.text


def test_an_independent_reader_finds_every_pixel_in_its_place(tmp_path):
    affine = np.array([[-2.0, 0, 0, 10], [0, 0, -1, 20], [0, -3, 0, 30], [0, 0, 0, 1]])  # RAS
    path = write_radiograph_nifti(tmp_path / "pa.nii.gz", IMAGE, affine, {"curve": "water"})
    image = itk.imread(str(path))
    for row, column in ((0, 0), (5, 7), (2, 3)):
        lps = [-10.0 + 2 * column, -20.0, 30.0 - 3 * row]
        found = image.TransformPhysicalPointToIndex(lps)
        assert tuple(found) == (column, row, 0)
        assert image.GetPixel(found) == IMAGE[row, column]
    assert b"not acquired" in nibabel.load(path).header["descrip"].item()
    sidecar = json.loads((tmp_path / "pa.json").read_text())
    assert sidecar["statement"] == DRR_STATEMENT
    assert sidecar["computed_from_ct"] is True
    assert sidecar["curve"] == "water"


def test_a_dicom_file_is_a_derived_secondary_capture_of_nobody(tmp_path):
    path = write_dicom_radiograph(
        tmp_path / "pa.dcm",
        IMAGE,
        pixel_spacing=(430 / 6, 430 / 9),  # numbers longer than the 16 characters of a DS
        orientation=("L", "F"),
        view_position="PA",
        sdd=1800.0,
        source_to_patient=1760.0,
        description="pa",
    )
    dataset = pydicom.dcmread(path)  # not forced, so preamble and file meta are whole
    assert dataset.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert dataset.file_meta.FileMetaInformationGroupLength > 100
    assert dataset.ImageType == ["DERIVED", "SECONDARY"]
    assert (dataset.Modality, dataset.ConversionType, dataset.BurnedInAnnotation) == ("OT", "SYN", "NO")
    assert dataset[0x0008, 0x001C].value == "YES"
    assert dataset.DerivationDescription == DRR_STATEMENT
    block = dataset.private_block(0x0099, "X2CT")
    assert block[0x01].VR == "UT"
    assert read_mark(block[0x01].value).kind is MarkKind.COMPUTED_RADIOGRAPH
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyID"):
        assert keyword in dataset
        assert not dataset[keyword].value
    assert dataset.PatientOrientation == ["L", "F"]
    assert dataset.ViewPosition == "PA"
    assert (dataset.DistanceSourceToDetector, dataset.DistanceSourceToPatient) == (1800, 1760)
    assert [float(v) for v in dataset.ImagerPixelSpacing] == pytest.approx([430 / 6, 430 / 9], abs=1e-7)
    assert "RescaleSlope" not in dataset
    assert dataset.PhotometricInterpretation == "MONOCHROME2"
    assert dataset.BitsStored == 16
    np.testing.assert_array_equal(dataset.pixel_array, np.rint(IMAGE * 65535))


def test_itk_reads_the_same_pixels_of_a_dicom_file(tmp_path):
    path = write_dicom_radiograph(tmp_path / "pa.dcm", IMAGE, pixel_spacing=(1, 1))
    pixels = itk.array_from_image(itk.imread(str(path)))
    np.testing.assert_array_equal(np.squeeze(pixels), np.rint(IMAGE * 65535))


def test_a_view_without_terms_leaves_them_out(tmp_path):
    dataset = pydicom.dcmread(write_dicom_radiograph(tmp_path / "a.dcm", IMAGE, pixel_spacing=(1, 1)))
    assert "ViewPosition" not in dataset
    assert "DistanceSourceToDetector" not in dataset
    assert "DistanceSourceToPatient" not in dataset


def test_images_of_a_study_differ_in_their_own_uids(tmp_path):
    study = new_uid()
    files = [tmp_path / f"{i}.dcm" for i in range(2)]
    one, other = (
        pydicom.dcmread(write_dicom_radiograph(f, IMAGE, pixel_spacing=(1, 1), study_uid=study)) for f in files
    )
    assert one.StudyInstanceUID == other.StudyInstanceUID == study
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert len(one.SOPInstanceUID) <= 64


def write_png(path, image):
    write_png16(path, image)


def write_nii(path, image):
    write_radiograph_nifti(path, image, np.eye(4))


def write_dcm(path, image):
    write_dicom_radiograph(path, image, pixel_spacing=(1, 1))


WRITERS = [
    pytest.param(write_png, "a.png", id="PNG"),
    pytest.param(write_nii, "a.nii.gz", id="NIfTI"),
    pytest.param(write_dcm, "a.dcm", id="DICOM"),
]


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_an_earlier_file_is_kept(tmp_path, write, name):
    write(tmp_path / name, IMAGE)
    first = (tmp_path / name).read_bytes()
    write(tmp_path / name, 1 - IMAGE)
    suffix = name.removeprefix("a")
    (kept,) = tmp_path.glob(f"a_*{suffix}")
    assert kept.read_bytes() == first
    assert (tmp_path / name).read_bytes() != first


@pytest.mark.parametrize(("write", "name"), WRITERS)
@pytest.mark.parametrize(
    "image", [pytest.param(np.full((3, 3), np.nan), id="nan"), pytest.param(np.zeros((1, 3, 3)), id="three axes")]
)
def test_what_is_no_radiograph_is_not_written(tmp_path, write, name, image):
    with pytest.raises(InputError, match="rows and columns of finite values"):
        write(tmp_path / name, image)
    assert not list(tmp_path.iterdir())
