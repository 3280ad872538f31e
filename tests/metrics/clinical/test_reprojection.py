import numpy as np
import pytest
import torch

from drr import VolumeGrid, preset
from metrics import reprojection_error

GRID = VolumeGrid(32, 10.0)


def test_the_error_of_each_view_is_that_of_the_volume():
    """A volume twice as dense has twice the line integrals in every view; one of nothing has none."""
    views = preset("x2ct", (32, 32), ["pa", "lateral", "oblique_45"])
    water = torch.zeros(1, 1, *GRID.shape)
    denser, nothing = torch.full_like(water, 100.0), torch.full_like(water, -1000.0)
    np.testing.assert_allclose(reprojection_error(denser, water, GRID, views), [[0.1] * 3], rtol=1e-4)
    np.testing.assert_allclose(reprojection_error(nothing, water, GRID, views), [[1.0] * 3], rtol=1e-4)
    assert float(reprojection_error(water, water, GRID, views).max()) == 0


def test_a_view_that_was_not_shown_tells_what_the_shown_ones_cannot():
    """What is too dense in front and too thin behind cancels in PA, but not from the side."""
    views = preset("x2ct", (32, 32), ["parallel_pa", "parallel_lateral"])
    water = torch.zeros(1, 1, *GRID.shape)
    wrong = water.clone()
    wrong[:, :, :, :16] += 200
    wrong[:, :, :, 16:] -= 200
    pa, lateral = reprojection_error(wrong, water, GRID, views)[0]
    assert float(pa) < 1e-4
    assert float(lateral) == pytest.approx(0.2, rel=0.2)
