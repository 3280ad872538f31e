"""Series that ITK reads too, by the code that SimpleITK wraps: the same HU at the same places in the patient."""

import itk
import numpy as np

from readers import read_ct
from tests.readers.ct.ct_files import FIRST, SLICES, STEP, write_series

LPS_TO_RAS = np.array([-1, -1, 1])


def read_by_itk(folder):
    """(X, Y, Z) HU and affine (RAS) of the one series in a folder."""
    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(folder))
    (uid,) = names.GetSeriesUIDs()
    image = itk.imread(list(names.GetFileNames(uid)), itk.F)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()) * np.array(image.GetSpacing()) * LPS_TO_RAS[:, None]
    affine[:3, 3] = np.array(image.GetOrigin()) * LPS_TO_RAS
    return itk.array_from_image(image).transpose(2, 1, 0), affine


def compared(folder):
    """The HU of both at the voxels of ITK's, and how far, in mm, those of ours that are nearest lie from these."""
    scan = read_ct(folder)
    theirs, affine = read_by_itk(folder)
    index = np.stack(np.meshgrid(*map(np.arange, theirs.shape), indexing="ij"), -1)
    step = np.linalg.inv(scan.affine) @ affine
    exact = index @ step[:3, :3].T + step[:3, 3]
    nearest = np.rint(exact).astype(int)
    off = np.abs((exact - nearest) @ scan.affine[:3, :3].T).max()
    ours = scan.volume_hu[tuple(np.clip(nearest, 0, np.array(scan.volume_hu.shape) - 1).reshape(-1, 3).T)]
    return ours.reshape(theirs.shape), np.clip(theirs, -1024, 3071), off


def test_an_upright_series_agrees(tmp_path):
    ours, theirs, off = compared(write_series(tmp_path / "ct"))
    np.testing.assert_array_equal(ours, theirs)
    assert off < 1e-5


def test_itk_puts_a_tilted_series_elsewhere(tmp_path):
    """An image of ITK has no leaning axes: 31 slices, 10 mm apart and tilted by 12 degrees, are displaced by 62 mm."""
    lean = np.radians(12)
    axes = np.array([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)]])
    positions = FIRST + np.outer(np.arange(SLICES) * STEP, [0, 0, 1.0])
    folder = write_series(tmp_path / "ct", positions, axes=axes)
    scan, (theirs, affine) = read_ct(folder), read_by_itk(folder)
    np.testing.assert_array_equal(scan.volume_hu, theirs)
    last = np.array([0, 0, SLICES - 1, 1])
    np.testing.assert_allclose((scan.affine @ last)[:3], positions[-1] * LPS_TO_RAS, atol=1e-6)
    assert np.linalg.norm((affine @ last - scan.affine @ last)[:3]) > 50


def test_the_real_series_agrees_without_its_duplicate(tmp_path, real_data):
    """RIDER Pilot 0109: of two different images at one position, the second by name is left out here."""
    for file in (real_data / "original" / "rider_pilot_0109_dicom").iterdir():
        if file.name != "2-01.dcm":
            (tmp_path / file.name).symlink_to(file)
    ours, theirs, off = compared(tmp_path)
    assert ours.shape == (512, 512, 63)
    np.testing.assert_array_equal(ours, theirs)
    assert off < 0.01
