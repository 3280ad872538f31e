import math

import numpy as np
import pytest
import torch

from conventions import InputError
from drr import ConeBeam, VolumeGrid, geometry_tensor, preset


def test_grid_affine_in_ras():
    grid = VolumeGrid((4, 6, 8), (1.0, 2.0, 3.0))
    affine = grid.affine((10.0, 20.0, 30.0))  # centre in LPS
    centre_index = [1.5, 2.5, 3.5, 1]
    np.testing.assert_allclose(affine @ centre_index, [-10, -20, 30, 1])
    # One step along D is 1 mm towards the feet, along H 2 mm to the back, along W 3 mm to the left.
    np.testing.assert_allclose(affine[:3, 0], [0, 0, -1])
    np.testing.assert_allclose(affine[:3, 1], [0, -2, 0])
    np.testing.assert_allclose(affine[:3, 2], [-3, 0, 0])
    assert grid.size == (4.0, 12.0, 24.0)


def test_presets_are_the_stated_numbers():
    pa, lateral = preset("x2ct", (320, 320))
    assert (pa.sdd, pa.sod, lateral.sdd, lateral.sod) == (949, 541, 949, 541)
    assert pa.source == (0, 541, 0)  # behind the patient
    assert lateral.source == (541, 0, 0)  # at the patient's left
    assert pa.column_step == (500 / 320, 0, 0)
    assert pa.row_step == (0, 0, -500 / 320)
    assert lateral.column_step == (0, 500 / 320, 0)
    pa, lateral = preset("chest")
    assert (pa.sdd, pa.sod, lateral.sdd, lateral.sod) == (1800, 1650, 1800, 1600)
    assert lateral.source == (-1600, 0, 0)  # left lateral: the left side at the detector
    assert lateral.column_step[1] > 0


def test_geometry_tensor():
    tensor = geometry_tensor(preset("chest"), dtype=torch.float64)
    assert tensor.shape == (1, 2, 4, 3)
    assert tensor[0, 1].tolist() == [[-1600, 0, 0], [200, 0, 0], [0, 430 / 128, 0], [0, 0, -430 / 128]]


def test_repr_rebuilds_the_view():
    for view in preset("x2ct"):
        assert eval(repr(view)) == view


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: preset("xray"), "unknown geometry 'xray'"),
        (lambda: ConeBeam.pa(sdd=500, sod=600), "sod must lie between 0 and sdd"),
        (lambda: ConeBeam.pa(sdd=500, sod=400, detector_size=-1), "detector_size must be positive"),
        (lambda: ConeBeam.lateral(detector_side="up", sdd=2, sod=1), "'left' or 'right'"),
        (lambda: VolumeGrid((4, 4), 1.0), "three positive integers"),
        (lambda: VolumeGrid((4, 4, 4), 0.0), "positive numbers"),
        (
            lambda: ConeBeam(source=(0, 0, 0), detector_centre=(0, 9, 0), column_step=(1, 0, 0), row_step=(2, 0, 0)),
            "span a plane",
        ),
        (
            lambda: ConeBeam(source=(5, 9, 0), detector_centre=(0, 9, 0), column_step=(1, 0, 0), row_step=(0, 0, -1)),
            "in the plane of the detector",
        ),
        (
            lambda: ConeBeam(
                source=(math.nan, 9, 0), detector_centre=(0, 9, 0), column_step=(1, 0, 0), row_step=(0, 0, -1)
            ),
            "three finite numbers",
        ),
    ],
)
def test_contradictions_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
