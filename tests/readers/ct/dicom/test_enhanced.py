"""Many frames in one file: rows 4 and 5 of the public reports, fault 4 of the field check."""

from copy import deepcopy

import numpy as np
import pytest

from tests.readers.ct.ct_files import (
    SLICES,
    axial_affine,
    even_positions,
    refused,
    right,
    silent,
    volume,
    write_enhanced,
    write_series,
)

ORDERS = {
    "ascending": np.arange(SLICES),
    "descending": np.arange(SLICES)[::-1],
    "odd then even": np.r_[1:SLICES:2, 0:SLICES:2],
    "random": np.random.default_rng(0).permutation(SLICES),
}


@pytest.mark.parametrize("order", ORDERS)
def test_frames_lie_where_they_say(tmp_path, order):
    path = write_enhanced(tmp_path / "enhanced.dcm", even_positions()[ORDERS[order]])
    for source in (path, tmp_path):
        scan = right(source)
        silent(scan)
        np.testing.assert_array_equal(scan.volume_hu, volume())
        np.testing.assert_allclose(scan.affine, axial_affine(), atol=1e-6)


def test_tilted_frames_are_straightened(tmp_path):
    lean = np.radians(12)
    axes = np.array([[1, 0, 0], [0, np.cos(lean), np.sin(lean)]])
    positions = np.array([-215.63, -156.29, -149.84]) + np.outer(np.arange(SLICES) * 10, [0, 0, 1.0])
    right(write_enhanced(tmp_path / "enhanced.dcm", positions, axes=axes))


def test_a_missing_frame_is_named(tmp_path):
    refused(write_enhanced(tmp_path / "enhanced.dcm", np.delete(even_positions(), 8, 0)), "slices are missing between")


def test_without_positions_frames_are_refused(tmp_path):
    def without_planes(dataset):
        for group in dataset.PerFrameFunctionalGroupsSequence:
            del group.PlanePositionSequence

    def without_groups(dataset):
        del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [8, 8], 10
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024

    for name, change in (("planes", without_planes), ("groups", without_groups)):
        path = write_enhanced(tmp_path / name / "ct.dcm", change=change)
        refused(path, "31 of 31 images state no position")


def test_one_image_of_a_series_with_a_number_of_frames_of_one(tmp_path):
    def change(dataset, _):
        dataset.NumberOfFrames = 1

    silent(right(write_series(tmp_path / "ct", change=change)))


def test_frames_that_are_not_described_are_refused(tmp_path):
    def change(dataset):
        del dataset.PerFrameFunctionalGroupsSequence[-1]

    refused(write_enhanced(tmp_path / "ct.dcm", change=change), "holds 31 frames and describes 30 of them")


def test_frames_that_are_cut_off_are_refused(tmp_path):
    path = write_enhanced(tmp_path / "ct.dcm")
    path.write_bytes(path.read_bytes()[:-5000])
    refused(path, "cut off")

    def change(dataset):
        dataset.Rows = dataset.Columns = 65535

    refused(write_enhanced(tmp_path / "large" / "ct.dcm", change=change), "claims 65535 x 65535 x 31 voxels")


def test_each_frame_has_its_own_rescale(tmp_path):
    def change(dataset):
        shared = dataset.SharedFunctionalGroupsSequence[0]
        pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(SLICES, -1).copy()
        for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            group.PixelValueTransformationSequence = deepcopy(shared.PixelValueTransformationSequence)
            intercept = -1024 - 100 * (number % 5)
            group.PixelValueTransformationSequence[0].RescaleIntercept = intercept
            pixels[number] += np.uint16(-1024 - intercept)
        del shared.PixelValueTransformationSequence
        dataset.PixelData = pixels.tobytes()

    np.testing.assert_array_equal(right(write_enhanced(tmp_path / "ct.dcm", change=change)).volume_hu, volume())
