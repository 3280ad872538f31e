"""Figures of table removal on a made CT, whose table and skin are known, and the outlines that are shipped."""

import json

import numpy as np
import pytest
from matplotlib.path import Path as Outline

from benchmarks.table import OUTLINES, SPACING, baseline, compare, outlined

SHAPE = (60, 80, 100)
AFFINE = np.array([[0.0, 0, -SPACING, 50], [0, -SPACING, 0, 40], [-SPACING, 0, 0, 30], [0, 0, 0, 1]])
"""(D, H, W) to RAS: the first voxel lies at the patient's right, front and head."""


@pytest.fixture
def made():
    """HU of a block of 40 x 30 mm on a table of 4 mm, and its outline on six slices."""
    volume = np.full(SHAPE, -1000, np.int16)
    volume[:, 20:50, 30:70] = 0
    volume[:, 50:54, 10:90] = 200
    corners = [[-20.5, -20.5], [19.5, -20.5], [19.5, 9.5], [-20.5, 9.5]]  # faces of the block, LPS
    return volume, [{"z": 30.0 - slice_, "polygons": [corners]} for slice_ in range(5, 60, 10)]


def test_what_stays_of_the_table_and_is_lost_of_the_patient_is_measured(made):
    volume, slices = made
    bodies = outlined(slices, AFFINE, SHAPE)
    assert list(bodies) == list(range(5, 60, 10))
    np.testing.assert_array_equal(bodies[5], volume[0] == 0)
    mask = volume == 0
    mask[:, 50:54, 30:40] = True  # 40 mm2 of the table stay
    mask[:, 20:26] = False  # 6 mm of 40 mm are lost
    one = compare(mask, volume, bodies)
    assert one.outside == pytest.approx(4 * 80 * 60 / 1000)
    assert one.left == pytest.approx(40 * 60 / 1000)
    assert one.lost == pytest.approx(6 * 40 * 60 / 1000)
    assert one.deep == pytest.approx(3 * 34 * 60 / 1000)
    assert one.dice == pytest.approx(2 * 24 * 40 / (30 * 40 + 24 * 40 + 40))


def test_the_baseline_keeps_a_table_that_is_touched(made):
    volume, _ = made
    assert baseline(volume).sum() == (volume > -500).sum()
    volume[:, 50] = -1000
    assert baseline(volume).sum() == 30 * 40 * 60


def test_the_outlines_are_bodies():
    cts = json.loads(OUTLINES.read_text())["cts"]
    assert len(cts) >= 5
    for ct in cts:
        assert len({one["z"] for one in ct["slices"]}) == 6
        for one in ct["slices"]:
            (polygon,) = one["polygons"]
            x, y = np.mean(polygon, 0)
            assert Outline(polygon).contains_point((x, y))
            closed = np.array([*polygon, polygon[0]])
            area = abs(np.sum(closed[:-1, 0] * closed[1:, 1] - closed[1:, 0] * closed[:-1, 1])) / 2
            assert 30_000 < area < 100_000  # mm2, of an adult
