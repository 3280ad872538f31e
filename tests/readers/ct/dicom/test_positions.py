"""Rows 1, 2 and 15 of the public reports, faults 1 to 4, 7, 8, 10 and 12 of the field check, cases 48 to 52."""

import itk
import nibabel
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from scipy.ndimage import gaussian_filter

from readers import read_ct
from tests.readers.ct.ct_files import (
    FIRST,
    SLICES,
    STEP,
    axial_affine,
    even_positions,
    refused,
    right,
    says,
    silent,
    volume,
    write_series,
)


def drop(*numbers):
    return lambda _, i: i not in numbers


def test_a_plain_series_is_read_as_itk_reads_it(tmp_path):
    scan = right(write_series(tmp_path / "ct"))
    silent(scan)
    np.testing.assert_allclose(scan.affine, axial_affine(), atol=1e-6)
    np.testing.assert_array_equal(scan.volume_hu, volume())
    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(tmp_path / "ct"))
    image = itk.imread(list(names.GetFileNames(names.GetSeriesUIDs()[0])), itk.F)
    np.testing.assert_array_equal(scan.volume_hu, itk.array_from_image(image).transpose(2, 1, 0))
    np.testing.assert_allclose(np.array(image.GetOrigin()) * [-1, -1, 1], scan.affine[:3, 3], atol=1e-6)


@pytest.mark.parametrize(
    ("first", "step", "digits"),
    [(-123.4, 5, 10), (-123.7, 3, 10), (-150, 10 / 3, 3), (-60, 1.25, 1), (-60.1, 1.25, 10), (-60.37, 2.66, 1)],
)
def test_rounded_positions_are_evenly_spaced(tmp_path, first, step, digits):
    """Row 1: ITK calls a deviation of 1e-14 mm uneven."""
    count = int(130 / step)
    true = even_positions(count, step, np.array([*FIRST[:2], first]))
    scan = right(write_series(tmp_path / "ct", true, stated=np.round(true, digits)), share=0.02)
    silent(scan)
    assert scan.affine[2, 2] == pytest.approx(step, abs=2e-3)
    assert scan.affine[2, 3] == pytest.approx(first, abs=0.1)


def test_jitter_is_tolerated(tmp_path):
    true = even_positions()
    stated = true + np.random.default_rng(0).normal(scale=0.001, size=true.shape)
    silent(right(write_series(tmp_path / "ct", true, stated=stated)))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("value", [-STEP, 1.0])
def test_spacing_between_slices_decides_nothing(tmp_path, value, descending):
    """Row 2, fault 3: a negative value turned the patient upside down."""

    def change(dataset, _):
        dataset.SpacingBetweenSlices = value

    positions = even_positions()[::-1] if descending else even_positions()
    scan = right(write_series(tmp_path / "ct", positions, change=change))
    silent(scan)
    assert np.linalg.det(scan.affine[:3, :3]) > 0


@pytest.mark.parametrize("thickness", [0.0, 20.0])
def test_slice_thickness_and_instance_numbers_decide_nothing(tmp_path, thickness):
    """Cases 51 and 52, fault 12."""
    numbers = np.random.default_rng(0).permutation(SLICES)

    def change(dataset, i):
        dataset.SliceThickness = thickness
        dataset.InstanceNumber = int(numbers[i])
        if thickness == 20:
            del dataset.InstanceNumber

    scan = right(write_series(tmp_path / "ct", change=change, names=numbers))
    silent(scan)


def test_a_missing_slice_is_named_by_its_place(tmp_path):
    """Case 48, fault 7."""
    z = FIRST[2] + STEP * np.array([9, 11])
    text = refused(write_series(tmp_path / "ct", change=drop(10)), "slices are missing between")
    assert f"z = {z[0]:.1f} and {z[1]:.1f} mm" in text
    text = refused(write_series(tmp_path / "gap", change=drop(*range(14, 20))), "slices are missing between")
    assert f"z = {FIRST[2] + 13 * STEP:.1f} and {FIRST[2] + 20 * STEP:.1f} mm" in text


def test_uneven_slices_are_refused(tmp_path):
    uneven = even_positions()
    uneven[SLICES // 2 :, 2] += np.arange(SLICES - SLICES // 2) * 0.3 * STEP
    refused(write_series(tmp_path / "two steps", uneven), "not evenly spaced: 10 to 13 mm apart")
    moved = even_positions()
    moved[9, 2] += 0.2 * STEP
    refused(write_series(tmp_path / "moved", moved), "not evenly spaced")
    every_other = even_positions()[np.r_[:16, 16:SLICES:2]]
    refused(write_series(tmp_path / "mixed", every_other), "not evenly spaced: 10 to 20 mm apart")


def test_slices_shifted_sideways_are_refused(tmp_path):
    shifted = even_positions()
    shifted[SLICES // 2 :, 0] += 30
    refused(write_series(tmp_path / "ct", shifted), "shifted sideways")


def test_a_copy_of_a_slice_is_read_once(tmp_path):
    """Case 49, fault 2: same place and same pixels."""
    positions = even_positions()
    twice = np.concatenate([positions, positions[[4, 25]]])
    scan = right(write_series(tmp_path / "ct", twice))
    says(scan, "changed", "slices", "2 positions hold the same image twice")
    silent(scan)
    np.testing.assert_array_equal(scan.volume_hu, volume())
    copied = write_series(tmp_path / "copied")
    for file in sorted(copied.iterdir())[:3]:
        (copied / f"copy of {file.name}").write_bytes(file.read_bytes())
    says(right(copied), "changed", "slices", "3 positions hold the same image twice")


def test_one_instance_uid_for_all_slices(tmp_path):
    """Some programs that remove names write the same UID everywhere."""

    def change(dataset, _):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "2.25.5"

    silent(right(write_series(tmp_path / "ct", change=change)))


def test_two_images_at_few_places_are_doubted(tmp_path):
    """The RIDER series at hand has one such place, where two breath-holds meet."""
    positions = even_positions()
    near = np.concatenate([positions, positions[[4]] + [0, 0, 0.005]])
    scan = right(write_series(tmp_path / "ct", near), share=0.002)
    assert scan.volume_hu.shape[2] == SLICES
    says(scan, "doubt", "slices", "1 positions hold different images")


def test_two_phases_in_one_series_are_refused(tmp_path):
    positions = np.repeat(even_positions(), 2, axis=0)

    def change(dataset, i):
        dataset.RescaleIntercept = -1024 + i % 2

    refused(write_series(tmp_path / "ct", positions, change=change), "2 different images at most of its positions")


@pytest.mark.parametrize(("degrees", "tag"), [(5, 5.0), (-15, None), (15, float("nan")), (6.8, 0.0)])
def test_a_tilted_gantry_is_measured_and_straightened(tmp_path, degrees, tag):
    """Row 15, faults 1, 8, 9 and 11: the positions tell the tilt, whatever the tag says."""
    lean = np.radians(degrees)
    axes = np.array([[1, 0, 0], [0, np.cos(lean), np.sin(lean)]])
    positions = FIRST + np.outer(np.arange(SLICES) * STEP / np.cos(lean), [0, 0, 1.0])

    def change(dataset, _):
        if tag is not None:
            dataset.add_new("GantryDetectorTilt", "DS", str(tag))

    scan = right(write_series(tmp_path / "ct", positions, axes=axes, change=change))
    says(scan, "found", "tilt", f"{abs(degrees):.1f} degrees")
    silent(scan)


COSINES = {
    "oblique": np.array([[0.96, 0.28, 0], [-0.28 * 0.8, 0.96 * 0.8, 0.6]]),
    "rows to the right": np.array([[-1.0, 0, 0], [0, -1, 0]]),
    "head first": np.array([[1.0, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, -1]]),
    "sagittal": np.array([[0, 1.0, 0], [0, 0, -1]]),
}


@pytest.mark.parametrize("name", COSINES)
def test_any_axes_are_read(tmp_path, name):
    axes = COSINES[name]
    extent = np.array([54 * 8, 39 * 8, (SLICES - 1) * STEP])
    first = [0.37, -0.29, 0.16] - np.stack([*axes, np.cross(*axes)], 1) @ extent / 2
    scan = right(write_series(tmp_path / "ct", even_positions(first=first, axes=axes), axes=axes))
    silent(scan)
    assert np.linalg.det(scan.affine[:3, :3]) > 0


def test_rows_and_columns_have_their_own_spacing(tmp_path):
    scan = right(write_series(tmp_path / "ct", spacing=np.array([7.7, 8.2])))
    np.testing.assert_allclose(np.linalg.norm(scan.affine[:3, :3], axis=0), [8.2, 7.7, STEP], atol=1e-6)


def test_one_slice_is_refused(tmp_path):
    """Case 56."""
    folder = write_series(tmp_path / "ct", even_positions()[:1])
    refused(folder, "single slice")
    refused(next(folder.iterdir()), "single slice")


def test_a_thin_slab_is_refused(tmp_path):
    refused(write_series(tmp_path / "ct", even_positions(9)), "covers only 440 x 320 x 90 mm, too little for a thorax")


def test_the_real_series_is_its_nifti_twin(real_data):
    """Read and resampled by another program; 2.5 mm, after a blur of 0.35 times the ratio of spacings in voxels."""
    scan = read_ct(real_data / "original" / "rider_pilot_0109_dicom")
    assert scan.volume_hu.shape == (512, 512, 63)
    says(scan, "doubt", "slices", "1 positions hold different images")
    twin = nibabel.load(real_data / "ct" / "rider_pilot_0109.nii.gz")
    ratio = 2.5 / np.linalg.norm(scan.affine[:3, :3], axis=0)
    blurred = gaussian_filter(scan.volume_hu.astype(np.float32), np.where(ratio > 1, 0.35 * ratio, 0))
    resample = SpatialResample(mode="bilinear", padding_mode="border", align_corners=False)
    volume_hu = MetaTensor(torch.from_numpy(blurred[None]), affine=torch.from_numpy(scan.affine))
    there = resample(volume_hu, dst_affine=torch.from_numpy(twin.affine), spatial_size=twin.shape)[0].numpy()
    differences = np.abs(there - twin.get_fdata(dtype=np.float32))
    assert differences.mean() < 0.5
    assert differences.max() < 40


@pytest.mark.parametrize("left_out", ["1-01.dcm", "2-01.dcm"])
def test_the_real_series_without_its_duplicate_is_even(tmp_path, real_data, left_out):
    """Row 1: one slice is 0.005 mm off its place, and ITK calls that uneven."""
    for file in (real_data / "original" / "rider_pilot_0109_dicom").iterdir():
        if file.name != left_out:
            (tmp_path / file.name).symlink_to(file)
    scan = read_ct(tmp_path)
    silent(scan)
    assert scan.volume_hu.shape == (512, 512, 63)
    np.testing.assert_allclose(np.diag(scan.affine)[:3], [-0.703125, -0.703125, 5], atol=2e-4)
