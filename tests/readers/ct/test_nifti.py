import gzip

import nibabel
import numpy as np
import pytest

from conventions import InputError
from readers import read_ct


@pytest.fixture
def chest():
    """Air with a block of tissue in it, (48, 48, 48) in HU."""
    volume_hu = np.full((48, 48, 48), -1000.0, dtype=np.float32)
    volume_hu[10:40, 10:40, 10:40] = 40
    return volume_hu


def test_a_fourth_axis_of_one_is_no_axis(write_ct, asymmetric_thorax):
    volume_hu, affine = read_ct(write_ct(asymmetric_thorax[..., None]))
    np.testing.assert_array_equal(volume_hu, asymmetric_thorax)
    np.testing.assert_array_equal(affine, np.diag([2.5, 2.5, 2.5, 1]))


def refused(path, words):
    with pytest.raises(InputError, match=words) as caught:
        read_ct(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "absent.nii.gz", "there is no such file")


def test_a_text_file_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no CT")
    refused(tmp_path / "notes.txt", "cannot be read as an image")


def test_a_file_of_other_content_is_refused(tmp_path):
    (tmp_path / "ct.nii.gz").write_bytes(gzip.compress(b"x" * 5000))
    refused(tmp_path / "ct.nii.gz", "cannot be read as NIfTI")


def test_a_file_cut_short_is_refused(tmp_path, write_ct):
    whole = write_ct(np.random.default_rng(0).normal(size=(48, 48, 48)).astype(np.float32), name="whole.nii.gz")
    (tmp_path / "ct.nii.gz").write_bytes(whole.read_bytes()[:20000])
    refused(tmp_path / "ct.nii.gz", "cannot be read as NIfTI")


def test_a_file_without_orientation_is_refused(tmp_path, chest):
    nibabel.save(nibabel.Nifti1Image(chest, None), tmp_path / "ct.nii.gz")
    refused(tmp_path / "ct.nii.gz", "states no orientation")


def test_a_small_field_is_refused(write_ct, chest):
    refused(write_ct(chest, np.diag([1.0, 2.5, 2.5, 1])), "covers only 48 x 120 x 120 mm")


def with_value(value, where):
    def change(volume_hu):
        changed = volume_hu.copy()
        changed[where] = value
        return changed

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda hu: hu[0], "has 2 dimensions", id="two axes"),
        pytest.param(lambda hu: np.stack([hu, hu], axis=-1), "has 4 dimensions", id="four axes"),
        pytest.param(lambda hu: hu[:, :, :1], "single slice", id="one slice"),
        pytest.param(with_value(np.nan, np.s_[0, 0, :3]), "3 voxels are not finite", id="NaN"),
        pytest.param(lambda hu: (hu + 1000) / 2500, "not a chest CT in Hounsfield units", id="unit values"),
        pytest.param(
            lambda hu: with_value(-2000, np.s_[0, 0, 0])(hu + 1024),  # padding alone does not make it HU
            "not a chest CT in Hounsfield units",
            id="stored values",
        ),
        pytest.param(lambda hu: np.full_like(hu, -1000), "not a chest CT in Hounsfield units", id="all air"),
    ],
)
def test_what_is_no_chest_ct_in_hu_is_refused(write_ct, chest, change, words):
    refused(write_ct(change(chest)), words)
