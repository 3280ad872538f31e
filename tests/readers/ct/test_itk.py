import itk
import numpy as np
import pydicom
import pytest

from conventions import InputError
from readers.ct.itk import read_itk_ct
from transforms import ReadVolume

SPACING = (2.5, 2.0, 3.0)


def write_itk(path, volume_ras):
    """Write (X, Y, Z) of RAS axes with ITK, whose arrays are (z, y, x) and whose axes run to the left and the back."""
    image = itk.image_from_array(np.ascontiguousarray(volume_ras[::-1, ::-1].transpose(2, 1, 0)))
    image.SetSpacing(SPACING)
    image.SetOrigin([10.0, -20.0, 30.0])
    itk.imwrite(image, str(path))
    return path


def write_series(folder, volume_ras, uid, gap=None, off=0.0):
    """Write DICOM slices, stored value = HU + 1024; `gap` leaves one slice out, `off` mm moves the second one."""
    slices = (volume_ras[::-1, ::-1].transpose(2, 1, 0) + 1024).astype(np.uint16)
    folder.mkdir(exist_ok=True)
    for i, pixels in enumerate(slices):
        if i == gap:
            continue
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"{uid}.{i + 1}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset = pydicom.dataset.FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=False)
        dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.CTImageStorage, f"{uid}.{i + 1}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.1", uid
        dataset.Modality, dataset.InstanceNumber = "CT", i + 1
        dataset.ImagePositionPatient = [10.0, -20.0, 30.0 + i * SPACING[2] + off * (i == 1)]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(folder / f"{uid}-{len(slices) - i:03}.dcm")  # file names in the wrong order
    return folder


@pytest.mark.parametrize("name", ["ct.mha", "ct.mhd", "ct.nrrd", "series"])
def test_every_format_reads_as_the_nifti_of_the_same_image(tmp_path, asymmetric_thorax, name):
    nifti = ReadVolume()(write_itk(tmp_path / "ct.nii.gz", asymmetric_thorax))
    if name == "series":
        path = write_series(tmp_path / name, asymmetric_thorax, "2.25.2")
        write_series(path, asymmetric_thorax[:, :, :1], "2.25.3")  # a localizer does not count
    else:
        path = write_itk(tmp_path / name, asymmetric_thorax)
    volume_hu, affine = read_itk_ct(path)
    np.testing.assert_array_equal(volume_hu, nifti[0].numpy())
    np.testing.assert_allclose(affine, nifti.affine.numpy(), atol=1e-5)
    assert volume_hu.dtype == np.float32


def test_values_beyond_a_ct_are_clipped(tmp_path, asymmetric_thorax):
    asymmetric_thorax[0, 0, 0], asymmetric_thorax[1, 0, 0] = -3024, 20000
    volume_hu, _ = read_itk_ct(write_itk(tmp_path / "ct.mha", asymmetric_thorax))
    assert (volume_hu.min(), volume_hu.max()) == (-1024, 3071)


def test_what_is_no_ct_is_refused_in_a_sentence(tmp_path, asymmetric_thorax):
    def refused(path, match):
        with pytest.raises(InputError, match=match) as error:
            read_itk_ct(path)
        assert str(error.value).startswith(str(path))
        assert "\n" not in str(error.value)

    refused(tmp_path / "absent.mha", "no such file or folder")
    refused(
        write_itk(tmp_path / "raw.mha", asymmetric_thorax + 1024),
        "not a chest CT in Hounsfield units .*apply the rescale slope",
    )
    broken = asymmetric_thorax.copy()
    broken[3, 3, 3] = np.nan
    refused(write_itk(tmp_path / "nan.nrrd", broken), "not finite")
    (tmp_path / "text.mha").write_text("no image")
    refused(tmp_path / "text.mha", "cannot be read as an image")
    itk.imwrite(itk.image_from_array(np.zeros((2, 4, 5, 6), np.int16)), str(tmp_path / "four.mha"))
    refused(tmp_path / "four.mha", r"has the shape \(6, 5, 4, 2\), a CT has 3 axes")
    itk.imwrite(itk.image_from_array(np.zeros((1, 5, 6), np.int16)), str(tmp_path / "slice.mha"))
    refused(tmp_path / "slice.mha", "several slices")


def test_a_folder_needs_one_whole_series(tmp_path, asymmetric_thorax):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds 0 DICOM series"):
        read_itk_ct(tmp_path / "empty")
    small = asymmetric_thorax[:, :, :20]
    two = write_series(write_series(tmp_path / "two", small, "2.25.4"), small, "2.25.5")
    with pytest.raises(InputError, match="holds 2 DICOM series"):
        read_itk_ct(two)
    with pytest.raises(InputError, match="not evenly spaced"):
        read_itk_ct(write_series(tmp_path / "gap", small, "2.25.6", gap=7))
    with pytest.raises(InputError, match="not evenly spaced"):
        read_itk_ct(write_series(tmp_path / "moved", small, "2.25.7", off=0.2 * SPACING[2]))


def test_rounded_positions_of_slices_are_evenly_spaced(tmp_path, asymmetric_thorax):
    volume_hu, affine = read_itk_ct(write_series(tmp_path / "even", asymmetric_thorax, "2.25.8"))
    rounded, same = read_itk_ct(write_series(tmp_path / "rounded", asymmetric_thorax, "2.25.9", off=0.005))
    np.testing.assert_array_equal(rounded, volume_hu)
    np.testing.assert_allclose(same, affine, atol=1e-5)
