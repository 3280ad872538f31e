"""Row 12 of the public reports: what lies outside the field is filled with 0."""

import numpy as np
import pytest
from scipy import ndimage

from readers import read_ct
from readers.ct.field import _spread
from tests.readers.ct.ct_files import axial_affine, right, says, silent, volume, write_nifti


def circle():
    x, y = np.mgrid[:55, :40]
    return np.hypot(x - 27, 1.3 * (y - 19.5)) > 26


@pytest.mark.parametrize("value", [0, 3071, -500])
def test_a_round_field_filled_with_one_value(tmp_path, value):
    hu = volume()
    hu[circle()] = value
    scan = read_ct(write_nifti(tmp_path / "ct.nii", hu))
    expected = volume()
    expected[circle()] = -1024
    np.testing.assert_array_equal(scan.volume_hu, expected)
    says(scan, "doubt", "field", f"{circle().mean():.0%} of the volume, from its edges on, is exactly {value} HU")


def test_a_turned_volume_with_corners_of_zero(tmp_path):
    turned = ndimage.rotate(volume(), 12, (0, 1), reshape=False, order=1, cval=0)
    truth = ndimage.rotate(volume(), 12, (0, 1), reshape=False, order=1, cval=-1024)
    scan = read_ct(write_nifti(tmp_path / "ct.nii", np.rint(turned)))
    says(scan, "doubt", "field", "exactly 0 HU")
    assert np.abs(scan.volume_hu - truth).mean() < 15  # the rim, where 0 and air are mixed
    assert np.abs(turned - truth).mean() > 60


def test_air_and_padding_outside_are_left_alone(tmp_path):
    for value in (-1000, -1024, -3024):
        hu = volume()
        hu[circle()] = value
        silent(right(write_nifti(tmp_path / "ct.nii", hu), share=1))


def test_a_patient_who_reaches_the_edges_is_left_alone(tmp_path):
    """A narrow field: tissue at all sides, without two voxels of one value in a row."""
    hu = volume()[17:38, 12:28]
    hu[10, 8] -= 940 + hu[10, 8]  # a trachea
    affine = axial_affine()
    affine[:3, 3] = (affine @ [17, 12, 0, 1])[:3]
    scan = read_ct(write_nifti(tmp_path / "ct.nii", hu, affine))
    silent(scan)
    np.testing.assert_array_equal(scan.volume_hu, hu)


@pytest.mark.parametrize("seed", range(5))
def test_the_field_is_what_a_search_through_the_whole_volume_finds(seed):
    """In a maze whose ways run up and down several times."""
    maze = (np.random.default_rng(seed).random((14, 15, 16)) < 0.5).astype(np.int16)
    fill = np.zeros(maze.shape, bool)
    fill[0, 0] = maze[0, 0] == 0
    expected = ndimage.binary_propagation(fill, mask=maze == 0)
    assert expected.sum() > 1000
    _spread(fill, maze, 0)
    np.testing.assert_array_equal(fill, expected)
