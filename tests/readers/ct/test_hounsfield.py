"""Case 77: HU with an offset, and values that are no HU."""

import numpy as np
import pytest

from readers import read_ct
from tests.readers.ct.ct_files import refused, right, says, silent, volume, write_nifti


def noisy():
    """The chest with the noise of a scanner, cut off at -1024 as scanners do."""
    noise = np.random.default_rng(0).normal(scale=8, size=volume().shape)
    return np.rint(volume() + noise).clip(-1024, 3071)


def test_an_offset_of_1024_is_undone(tmp_path):
    scan = read_ct(write_nifti(tmp_path / "ct.nii", noisy() + 1024))
    np.testing.assert_array_equal(scan.volume_hu, noisy())
    says(scan, "doubt", "HU", "HU + 1024; 1024 is subtracted")


def test_an_offset_of_1000_is_undone(tmp_path):
    scan = read_ct(write_nifti(tmp_path / "ct.nii", noisy() + 1000))
    np.testing.assert_array_equal(scan.volume_hu, noisy())
    says(scan, "doubt", "HU", "HU + 1000; 1000 is subtracted")


def test_padding_does_not_hide_an_offset(tmp_path):
    hu = noisy()
    hu[:2] = -3024
    scan = read_ct(write_nifti(tmp_path / "ct.nii", hu + 1024))
    np.testing.assert_array_equal(scan.volume_hu, hu.clip(-1024))


def test_an_offset_that_could_be_either_is_refused(tmp_path):
    """With 1000 added and everything below 0 cut off, nothing but the air's place speaks, and that varies by 24 HU."""
    refused(write_nifti(tmp_path / "ct.nii", (noisy() + 1000).clip(0)), "not a chest CT in Hounsfield units")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda hu: (hu + 1000) / 2500, "not a chest CT in Hounsfield units", id="0 to 1"),
        pytest.param(lambda hu: ((hu + 160) / 400).clip(0, 1) * 255, "not a chest CT in Hounsfield units", id="window"),
        pytest.param(lambda hu: np.full_like(hu, -1000), "not a chest CT in Hounsfield units", id="all air"),
        pytest.param(lambda hu: hu + 4096, "not a chest CT in Hounsfield units", id="another offset"),
        pytest.param(lambda hu: hu + 200, "its air lies at -82[0-9], that of a CT .* at -1000", id="shifted"),
        pytest.param(lambda hu: -hu, "not a chest CT in Hounsfield units", id="inverted"),
    ],
)
def test_what_is_not_in_hu_is_refused(tmp_path, change, words):
    refused(write_nifti(tmp_path / "ct.nii", change(noisy()), dtype=np.float32), words)


def test_tissue_in_a_strange_place_is_doubted(tmp_path):
    says(read_ct(write_nifti(tmp_path / "ct.nii", np.where(noisy() > -300, 170, noisy()))), "doubt", "HU", "170 HU")


def test_hu_of_a_scanner_are_left_alone(tmp_path):
    scan = right(write_nifti(tmp_path / "ct.nii", noisy()), share=1)
    np.testing.assert_array_equal(scan.volume_hu, noisy())
    silent(scan)


def test_the_darkest_padding_stays_air_where_an_offset_is_undone(tmp_path):
    """The smallest number of int16, less the offset, would come out at the bright end."""
    hu = noisy() + 1024
    hu[:, 0] = np.iinfo(np.int16).min
    scan = read_ct(write_nifti(tmp_path / "ct.nii", hu))
    says(scan, "doubt", "HU", "1024 is subtracted")
    assert (scan.volume_hu[:, 0] == -1024).all()
    np.testing.assert_array_equal(scan.volume_hu[:, 1:], noisy()[:, 1:])


def test_real_cts_are_read_as_they_are(real_data):
    """Nothing is doubted, and an offset is undone or refused, never taken for the other one."""
    files = sorted(file for folder in ("ct", "ct_more") for file in (real_data / folder).glob("*.nii.gz"))
    assert len(files) == 17
    undone = 0
    for file in files:
        scan = read_ct(file)
        silent(scan)
        undone += offsets(scan.volume_hu)
    assert undone >= 24  # of 34


def offsets(hu):
    """Add each offset to a volume, count those that are undone, and check that they are the right ones."""
    from readers import DecisionRecord
    from readers.ct.hounsfield import undo_offset

    count = 0
    for offset in (1000, 1024):
        voxels, record = hu + np.float32(offset), DecisionRecord("a CT", "x2ct.ct")
        undo_offset(voxels, record)
        if record.decisions:
            np.testing.assert_array_equal(voxels, hu)
            count += 1
    return count
