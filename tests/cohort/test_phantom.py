"""The phantom has the anatomy of a patient lying the right way round, and its primitives obey closed formulas."""

from __future__ import annotations

import numpy as np
import pytest

from cohort.anatomy import HU_GAS, HU_LIVER
from cohort.phantom import ThoraxPhantom, thorax_phantom
from cohort.shapes import Canvas, Ellipsoid, Pose, Tube, ellipsoid_line_integral
from conventions import InputError

COARSE = {"shape": (64, 64, 64), "spacing": 5.0}
SEEDS = range(10)

# Turned by 30 degrees about z: the first axis points to (cos 30, sin 30, 0).
TURNED = ((3**0.5 / 2, 0.5, 0.0), (-0.5, 3**0.5 / 2, 0.0), (0.0, 0.0, 1.0))


@pytest.fixture(scope="module")
def phantoms() -> list[ThoraxPhantom]:
    return [thorax_phantom(seed, **COARSE) for seed in SEEDS]


def voxel_of(point_mm, shape, spacing):
    """Index (D, H, W) of the voxel at (x, y, z), written out apart from the package."""
    x, y, z = point_mm
    return tuple(round(v / spacing + (n - 1) / 2) for v, n in zip((-z, y, x), shape, strict=True))


def lung_voxels(volume_hu):
    return (volume_hu > -950) & (volume_hu < -650)


# --- the whole phantom ---


def test_same_seed_gives_same_volume_to_the_bit():
    first, second = thorax_phantom(7, **COARSE), thorax_phantom(7, **COARSE)
    assert first.volume_hu.shape == (64, 64, 64)
    assert first.volume_hu.dtype == np.float32
    np.testing.assert_array_equal(first.volume_hu, second.volume_hu)
    assert first.ellipsoids == second.ellipsoids


def test_anatomy_does_not_depend_on_the_grid():
    fine, coarse, other = thorax_phantom(3), thorax_phantom(3, **COARSE), thorax_phantom(4, **COARSE)
    assert fine.ellipsoids == coarse.ellipsoids
    averaged = fine.volume_hu.reshape(64, 2, 64, 2, 64, 2).mean(axis=(1, 3, 5))
    # Independent noise of 12 HU alone gives a mean absolute difference of 10 HU, lung texture and soft edges the rest;
    # a shift of the anatomy by half a coarse voxel already gives 31 to 43 HU (measured), along each axis.
    assert np.abs(averaged - coarse.volume_hu).mean() < 22
    assert np.abs(other.volume_hu - coarse.volume_hu).mean() > 60


def test_cases_differ_as_much_as_patients_do(phantoms):
    volumes = np.stack([phantom.volume_hu for phantom in phantoms]).clip(-1024, 1476)
    mean_square = ((volumes - volumes.mean(axis=0)) ** 2).mean(axis=(1, 2, 3))
    psnr = (10 * np.log10(2500**2 / mean_square)).mean()
    # Ten public chest CTs on the same cube, not all of which fill it: 17.1 dB against their mean.
    assert 16.0 < psnr < 20.8


def test_any_grid_works():
    phantom = thorax_phantom(1, shape=(20, 33, 26), spacing=9.5)
    assert phantom.volume_hu.shape == (20, 33, 26)
    assert np.isfinite(phantom.volume_hu).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"shape": (64, 64)}, "shape"),
        ({"shape": (64, 0, 64)}, "shape"),
        ({"shape": (64, 64.5, 64)}, "shape"),
        ({"spacing": 0.0}, "spacing"),
        ({"spacing": float("nan")}, "spacing"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        thorax_phantom(**({"seed": 0} | arguments))


# --- tissues ---


def test_tissues_have_the_amounts_of_a_patient(phantoms):
    for phantom in phantoms:
        hu, litres = phantom.volume_hu, (phantom.spacing / 100) ** 3
        assert -1100 < hu.min() < -1000
        assert 300 < hu.max() < 1500
        assert abs(np.median(hu[:, 0]) + 1000) < 5  # air in front of the patient
        # Lungs on chest CT hold about 2 to 8 litres.
        assert 1.5 < lung_voxels(hu).sum() * litres < 8
        # The ten public CTs: 0.5 to 2.3 litres above 200 HU, 3.5 to 7.3 of soft tissue, 1.9 to 7.7 of fat.
        assert 0.4 < (hu > 200).sum() * litres < 2.4
        assert 3.5 < ((hu > 0) & (hu < 100)).sum() * litres < 10
        assert 0.5 < ((hu > -150) & (hu < -50)).sum() * litres < 12


def test_tissues_vary_between_cases(phantoms):
    lungs = [np.median(phantom.volume_hu[lung_voxels(phantom.volume_hu)]) for phantom in phantoms]
    assert np.std(lungs) > 10
    assert all(-900 < hu < -700 for hu in lungs)


# --- orientation: D to the feet, H to the back, W to the left ---


def test_heart_takes_room_from_the_left_lung(phantoms):
    right = sum(lung_voxels(p.volume_hu[24:44, :32, :32]).sum() for p in phantoms)
    left = sum(lung_voxels(p.volume_hu[24:44, :32, 32:]).sum() for p in phantoms)
    assert left < 0.9 * right


def test_spine_stands_at_the_back(phantoms):
    bone = [phantom.volume_hu[:, :, 26:38] > 200 for phantom in phantoms]
    # The median: where the heart is full of contrast medium, it counts as bone here.
    assert np.median([b[:, 32:].sum() / b[:, :32].sum() for b in bone]) > 4


def test_apices_are_up_and_narrow(phantoms):
    mean = np.mean([lung_voxels(phantom.volume_hu) for phantom in phantoms], axis=0)
    area = mean.sum(axis=(1, 2))
    assert area[12:20].sum() < 0.8 * area[28:36].sum()
    assert area[:4].sum() + area[60:].sum() < 0.04 * area.sum()


def hu_at(phantom, ellipsoid):
    """Median HU of the 27 voxels around an ellipsoid's centre."""
    index = voxel_of(ellipsoid.centre, phantom.volume_hu.shape, phantom.spacing)
    return np.median(phantom.volume_hu[tuple(slice(i - 1, i + 2) for i in index)])


def test_liver_lies_right_and_low(phantoms):
    for phantom in phantoms:
        largest = max((e for e in phantom.ellipsoids if abs(e.value - HU_LIVER) < 40), key=lambda e: e.semi_axes[2])
        index = voxel_of(largest.centre, phantom.volume_hu.shape, phantom.spacing)
        assert index[0] > 36
        assert index[2] < 28
        assert hu_at(phantom, largest) == pytest.approx(HU_LIVER, abs=40)


def test_stomach_bubble_lies_left_and_low(phantoms):
    bubbles = [(p, next(e for e in p.ellipsoids if e.value == HU_GAS)) for p in phantoms]
    indices = [voxel_of(bubble.centre, p.volume_hu.shape, p.spacing) for p, bubble in bubbles]
    assert all(d > 34 and w > 36 for d, _, w in indices)
    thick = [(p, bubble) for p, bubble in bubbles if bubble.semi_axes[2] > 8]
    assert len(thick) >= 3
    assert all(hu_at(p, bubble) < -900 for p, bubble in thick)


def test_right_dome_is_mostly_higher(phantoms):
    right = np.mean([lung_voxels(p.volume_hu[32:60, 36:42, 14:22]).sum() for p in phantoms])
    left = np.mean([lung_voxels(p.volume_hu[32:60, 36:42, 42:50]).sum() for p in phantoms])
    assert right < left


# --- shapes ---


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
