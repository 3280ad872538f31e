"""Bones of cylinders and rings that were moved by a known amount: their centre lines are as far apart."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from metrics import centre_line_distances, centre_lines, spine_line

SPACING, SHAPE = 2.5, (64, 96, 96)
BODY_MM = (95.0, 110.0)
"""Half axes of the trunk along H and W."""


def chest(spine_mm=(50.0, 0.0), slope=0.0, ribs_mm=(0.0, 0.0, 0.0), vertebra_hu=500.0):
    """A trunk with a spine, a cylinder of 15 mm radius that leans by `slope` to the left, and seven rings as ribs.

    Args:
        spine_mm: middle of the spine, to the back and the left of that of the volume.
        slope: mm to the left for each mm to the feet.
        ribs_mm: shift of the ribs to the feet, the back and the left.
        vertebra_hu: HU of the spine.
    """
    d, h, w = ((np.arange(n) - (n - 1) / 2) * SPACING for n in SHAPE)
    d, h, w = d[:, None, None], h[:, None], w
    body = np.broadcast_to((h / BODY_MM[0]) ** 2 + (w / BODY_MM[1]) ** 2 < 1, SHAPE)
    volume = np.where(body, 40.0, -1000.0)
    volume[np.broadcast_to(np.hypot(h - spine_mm[0], w - spine_mm[1] - slope * d) < 15, SHAPE)] = vertebra_hu
    rim = np.hypot(h - ribs_mm[1], w - ribs_mm[2])
    height = (d - ribs_mm[0] + 90) % 25  # ribs 25 mm apart
    volume[(np.abs(rim - 75) < 5) & (np.abs(height - 12.5) < 5) & (np.abs(d - ribs_mm[0]) < 78)] = 700.0
    return torch.from_numpy(volume), torch.from_numpy(body.copy())


def lines(**moved):
    volume, body = chest(**moved)
    return centre_lines(volume, volume > 200, body, SPACING)


@pytest.mark.parametrize("spine", [(50.0, 0.0), (44.0, 8.0), (53.0, -12.5)])
def test_the_line_of_a_straight_spine_is_its_axis(spine):
    volume, body = chest(spine, ribs_mm=(0, 0, 500.0))
    found = (spine_line(volume, body, SPACING) - (torch.tensor(SHAPE[1:]) - 1) / 2) * SPACING
    np.testing.assert_allclose(found, np.broadcast_to(spine, (64, 2)), atol=0.5)


def test_a_spine_that_leans_is_followed():
    volume, body = chest(slope=0.4, ribs_mm=(0, 0, 500.0))
    found = (spine_line(volume, body, SPACING)[8:-8, 1] - 47.5) * SPACING
    np.testing.assert_allclose(found, 0.4 * (np.arange(8, 56) - 31.5) * SPACING, atol=1.0)


@pytest.mark.parametrize(("back", "left"), [(0.0, 5.0), (-4.0, 3.0), (7.5, 0.0)])
def test_the_distance_of_spines_is_their_shift(back, left):
    moved, true = lines(spine_mm=(50 + back, left), ribs_mm=(0, 0, 500)), lines(ribs_mm=(0, 0, 500))
    found = centre_line_distances(moved, true)
    assert found["spine_distance_mm"] == pytest.approx(np.hypot(back, left), abs=0.5)
    assert np.isnan(found["ribs_distance_mm"])  # there are none


def test_a_blurred_spine_keeps_its_line():
    volume, body = chest(ribs_mm=(0, 0, 500))
    blurred = torch.from_numpy(gaussian_filter(volume.numpy(), 2.0))
    off = (spine_line(blurred, body, SPACING) - spine_line(volume, body, SPACING)) * SPACING
    assert off.norm(dim=1).nanmean() < 0.5


@pytest.mark.parametrize("down", [2.5, 5.0, 7.5])
def test_ribs_that_were_shifted_along_the_body_are_as_far_apart(down):
    """The nearest voxel of each ring lies straight above or below, but for wiggles of the skeletons."""
    found = centre_line_distances(lines(ribs_mm=(down, 0, 0)), lines())
    assert found["ribs_distance_mm"] == pytest.approx(down, rel=0.1)
    assert found["spine_distance_mm"] == pytest.approx(0, abs=0.5)


def test_ribs_that_were_shifted_sidewards_are_closer_than_their_shift():
    """Along a ring the shift is felt by |cos| on average: 2 / pi."""
    found = centre_line_distances(lines(ribs_mm=(0, 0, 5.0)), lines())
    assert found["ribs_distance_mm"] == pytest.approx(5 * 2 / np.pi, rel=0.15)


def test_missing_ribs_cost_the_distance_to_those_that_are_there():
    whole = lines()
    upper = type(whole)(whole.spine, whole.ribs[whole.ribs[:, 0] < 32], SPACING)
    assert centre_line_distances(upper, whole)["ribs_distance_mm"] > 10


def test_without_bones_nothing_is_measured():
    body = torch.ones(16, 16, 16, dtype=torch.bool)
    nothing = centre_lines(torch.full((16, 16, 16), 40.0), ~body, body, SPACING)
    assert all(np.isnan(value) for value in centre_line_distances(nothing, nothing).values())
    apart = {"ribs_mm": (0, 0, 500)}
    soft = centre_line_distances(lines(vertebra_hu=60.0, **apart), lines(**apart))
    assert np.isnan(soft["spine_distance_mm"])
