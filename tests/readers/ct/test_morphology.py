import numpy as np
import pytest
from scipy import ndimage

from readers.ct.morphology import dilated, eroded, filled


@pytest.fixture(scope="module")
def blobs():
    """Blobs that touch all sides of the volume and enclose holes."""
    noise = np.random.default_rng(0).normal(size=(30, 26, 34))
    return ndimage.gaussian_filter(noise, 1.5) > 0.03


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.6, 2.0, 2.8, 5.6])
def test_balls_are_those_of_a_distance_transform(blobs, radius):
    away = ndimage.distance_transform_edt(~blobs)
    np.testing.assert_array_equal(dilated(blobs, radius), away <= radius)
    beyond = np.pad(blobs, 6, mode="edge")
    depth = ndimage.distance_transform_edt(beyond)[6:-6, 6:-6, 6:-6]
    np.testing.assert_array_equal(eroded(blobs, radius), depth > radius)


def test_slices_are_filled_as_planes(blobs):
    planes = np.stack([ndimage.binary_fill_holes(plane) for plane in blobs])
    assert planes.sum() > blobs.sum()
    np.testing.assert_array_equal(filled(blobs), planes)


def test_a_volume_that_is_smaller_than_the_ball_is_filled_by_it():
    mask = np.zeros((2, 3, 4), bool)
    mask[0, 0, 0] = True
    assert dilated(mask, 9).all()
    assert not eroded(mask, 9).any()


def test_nothing_grows_from_nothing():
    nothing = np.zeros((4, 5, 6), bool)
    assert not dilated(nothing, 2).any()
    assert eroded(~nothing, 2).all()
    assert not filled(nothing).any()
