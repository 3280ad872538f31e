"""Shapes are painted where they lie with the volume they have, and line integrals obey closed formulas."""

from __future__ import annotations

import numpy as np
import pytest

from cohort.phantoms.shapes import Canvas, Ellipsoid, Pose, Tube, ellipsoid_line_integral
from conventions import InputError

# Turned by 30 degrees about z: the first axis points to (cos 30, sin 30, 0).
TURNED = ((3**0.5 / 2, 0.5, 0.0), (-0.5, 3**0.5 / 2, 0.0), (0.0, 0.0, 1.0))


def test_canvas_axes_run_to_feet_back_and_left():
    canvas = Canvas((11, 13, 15), 10.0, 0.0)
    canvas.paint(Ellipsoid((30.0, -20.0, 40.0), (8.0, 8.0, 8.0), 1.0))
    assert np.unravel_index(canvas.volume.argmax(), canvas.volume.shape) == (1, 4, 10)


def test_painted_shapes_keep_their_volume():
    ellipsoid = Ellipsoid((3.0, -5.0, 1.3), (40.0, 25.0, 30.0), 1.0, TURNED)
    rod = Tube((-20.0, 0.0, -30.0), (25.0, 10.0, 30.0), (8.0, 8.0), 1.0)
    thread = Tube((-20.0, 0.0, -30.0), (25.0, 10.0, 30.0), (0.7, 0.7), 1.0)
    length = np.sqrt(45**2 + 10**2 + 60**2)
    volumes = (4 / 3 * np.pi * 40 * 25 * 30, np.pi * 8**2 * length + 4 / 3 * np.pi * 8**3, np.pi * 0.7**2 * length)
    for shape, volume, tolerance in zip((ellipsoid, rod, thread), volumes, (0.01, 0.03, 0.15), strict=True):
        canvas = Canvas((64, 64, 64), 2.5, 0.0)
        canvas.paint(shape)
        assert canvas.volume.sum() * 2.5**3 == pytest.approx(volume, rel=tolerance)


def test_pose_turns_right_handed():
    # A quarter turn about z takes left (+x) to back (+y).
    np.testing.assert_allclose(Pose((0.0, 0.0, 90.0), (1.0, 2.0, 3.0)).apply((5.0, 0.0, 0.0)), (1.0, 7.0, 3.0))
    moved = Ellipsoid((5.0, 0.0, 0.0), (3.0, 2.0, 1.0), 1.0).moved(Pose((0.0, 0.0, 90.0)))
    np.testing.assert_allclose(moved.axes[0], (0.0, 1.0, 0.0), atol=1e-12)


# --- line integrals ---


@pytest.mark.parametrize("offset", [0.0, 3.0, 6.5])
def test_chord_of_a_sphere(offset):
    sphere = Ellipsoid((10.0, -4.0, 2.0), (7.0, 7.0, 7.0), 0.02)
    source, target = (10.0 + offset, -500.0, 2.0), (10.0 + offset, 400.0, 2.0)
    expected = 0.02 * 2 * np.sqrt(7.0**2 - offset**2)
    assert ellipsoid_line_integral([sphere], source, target) == pytest.approx(expected, rel=1e-12)


def test_chord_of_a_turned_ellipsoid_along_its_long_axis():
    ellipsoid = Ellipsoid((1.0, 2.0, 3.0), (50.0, 20.0, 10.0), 1.0, TURNED)
    direction = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6), 0.0])
    centre = np.array([1.0, 2.0, 3.0])
    assert ellipsoid_line_integral([ellipsoid], centre - 200 * direction, centre + 300 * direction) == pytest.approx(
        100
    )


def test_oblique_chords_agree_with_brute_force():
    ellipsoid = Ellipsoid((12.0, -8.0, 5.0), (60.0, 25.0, 40.0), 1.0, TURNED)
    source = np.array([-300.0, -900.0, 150.0])
    targets = np.array([[60.0, 500.0, -60.0], [20.0, 480.0, -80.0], [150.0, 500.0, -70.0], [900.0, 500.0, 0.0]])
    steps = 200_000
    along = ((np.arange(steps) + 0.5) / steps)[:, None]
    expected = []
    for target in targets:
        points = source + along * (target - source) - ellipsoid.centre
        u, v = points[:, 0] * 3**0.5 / 2 + points[:, 1] / 2, -points[:, 0] / 2 + points[:, 1] * 3**0.5 / 2
        inside = (u / 60) ** 2 + (v / 25) ** 2 + (points[:, 2] / 40) ** 2 < 1
        expected.append(inside.mean() * np.linalg.norm(target - source))
    assert max(expected) > 50
    assert expected[-1] == 0
    # The sampling step is 8 micrometres, so each end of a chord is found within that.
    np.testing.assert_allclose(ellipsoid_line_integral([ellipsoid], source, targets), expected, atol=0.02)


def test_values_add_up_and_rays_end_at_the_target():
    outer = Ellipsoid((0.0, 0.0, 0.0), (30.0, 30.0, 30.0), 2.0)
    inner = Ellipsoid((0.0, 0.0, 0.0), (10.0, 10.0, 10.0), -1.0)
    through, to_centre = (0.0, 100.0, 0.0), (0.0, 0.0, 0.0)
    result = ellipsoid_line_integral([outer, inner], (0.0, -100.0, 0.0), [[through, to_centre]])
    assert result.shape == (1, 2)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, [[100.0, 50.0]])


def test_rays_need_three_coordinates():
    with pytest.raises(InputError, match="x, y, z"):
        ellipsoid_line_integral([], (0.0, 0.0), (1.0, 2.0))
