"""The authors' resampling, cropping and normalisation, held to numbers that their own code computed."""

import json

import numpy as np
import pytest

from cohort.x2ct_protocol import crop_to_cube, network_ct, network_radiograph, resample_to_1mm
from conventions import hu_to_unit
from tests.oracle import random_state

PIPELINE = {"int16": (np.int16, np.uint8), "float64": (np.float64, np.float64)}
"""Run of the oracle -> type of its CT and of its radiographs."""


@pytest.fixture
def misc(oracle):
    return json.loads((oracle / "x2ct" / "misc.json").read_text())


def test_resampling(oracle, misc):
    image = (random_state("ctpro_img").random_sample((9, 20, 22)) * 2000).astype(np.int16)
    expected = misc["ctpro_resample"]
    resampled, spacing = resample_to_1mm(image, expected["in_spacing_xyz"][::-1])
    assert resampled.dtype == np.int16
    np.testing.assert_array_equal(resampled, np.load(oracle / "x2ct" / "ctpro.npz")["resampled"])
    np.testing.assert_allclose(spacing, expected["out_spacing"], rtol=1e-15)


def test_a_volume_of_1_mm_stays():
    image = random_state("one").random_sample((4, 5, 6))
    resampled, spacing = resample_to_1mm(image, [1, 1, 1])
    assert resampled is image
    assert spacing.tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(9, 20, 22), (30, 31, 33), (16, 15, 17)])
def test_cropping(misc, shape):
    cube = crop_to_cube(np.arange(np.prod(shape)).reshape(shape), 16)
    expected = misc[f"ctpro_crop_{'x'.join(map(str, shape))}_to16"]
    assert list(cube.shape) == expected["shape"]
    assert cube.sum() == expected["sum"]
    assert cube[8, 8, 8] == expected["first"]


def test_of_z_the_end_towards_the_head_stays():
    tall = np.arange(20).reshape(20, 1, 1)
    assert crop_to_cube(tall, 16)[:, 8, 8].tolist() == [0] * 16  # y and x are filled up on both sides
    assert crop_to_cube(np.broadcast_to(tall, (20, 16, 16)), 16)[:, 8, 8].tolist() == list(range(4, 20))


@pytest.mark.parametrize("run", PIPELINE)
def test_normalisation(oracle, run):
    ct_type, image_type = PIPELINE[run]
    expected = np.load(oracle / "x2ct" / "pipeline.npz")
    ct = (random_state("pipe_ct").random_sample((40, 44, 48)) * 4500 - 500).astype(ct_type)
    made = network_ct(ct, 24)
    assert made.dtype == np.float32
    np.testing.assert_array_equal(made, expected[f"ct_{run}"])
    for number in (1, 2):
        image = (random_state(f"pipe_x{number}").random_sample((48, 48)) * 256).astype(image_type)
        np.testing.assert_array_equal(network_radiograph(image, 24), expected[f"xray{number}_{run}"][0])


def test_unit_values_are_those_of_this_project():
    volume_hu = random_state("hu").random_sample((8, 8, 8)) * 4000 - 1024
    np.testing.assert_allclose(network_ct(volume_hu + 1024, 8), hu_to_unit(volume_hu), atol=5.1e-7)
