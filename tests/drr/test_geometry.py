import dataclasses
import math

import numpy as np
import pytest
import torch

from conventions import InputError
from drr import ConeBeam, ParallelBeam, VolumeGrid, geometry_tensor, preset
from drr.presets import X2CT_ISOCENTRE_SLIP, X2CT_MIRRORED


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
        pytest.param(lambda: preset("xray"), "unknown geometry 'xray'", id="unknown-preset"),
        pytest.param(lambda: ConeBeam.pa(sdd=500, sod=600), "sod must lie between 0 and sdd", id="sod-beyond-sdd"),
        pytest.param(
            lambda: ConeBeam.pa(sdd=500, sod=400, detector_size=-1),
            "detector_size must be positive",
            id="negative-detector",
        ),
        pytest.param(
            lambda: ConeBeam.lateral(detector_side="up", sdd=2, sod=1), "'left' or 'right'", id="lateral-without-a-side"
        ),
        pytest.param(lambda: VolumeGrid((4, 4), 1.0), "three positive integers", id="grid-of-two-axes"),
        pytest.param(lambda: VolumeGrid((4, 4, 4), 0.0), "positive numbers", id="grid-without-spacing"),
        pytest.param(lambda: VolumeGrid((4, 4, float("inf")), 1.0), "three positive integers", id="endless-grid"),
        pytest.param(lambda: VolumeGrid((1024, 1024, 1025), 1.0), "is larger than 1024 x 1024 x 1024", id="large-grid"),
        pytest.param(lambda: preset("chest", (8192, 8193)), "is larger than 8192 x 8192", id="large-detector"),
        pytest.param(
            lambda: ConeBeam(source=(0, 0, 0), detector_centre=(0, 9, 0), column_step=(1, 0, 0), row_step=(2, 0, 0)),
            "span a plane",
            id="parallel-steps",
        ),
        pytest.param(
            lambda: ConeBeam(source=(5, 9, 0), detector_centre=(0, 9, 0), column_step=(1, 0, 0), row_step=(0, 0, -1)),
            "in the plane of the detector",
            id="source-in-the-detector",
        ),
        pytest.param(
            lambda: ConeBeam(
                source=(math.nan, 9, 0), detector_centre=(0, 9, 0), column_step=(1, 0, 0), row_step=(0, 0, -1)
            ),
            "three finite numbers",
            id="nan",
        ),
    ],
)
def test_contradictions_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


CHEST = {"sdd": 1800.0, "sod": 1500.0, "detector_size": 430.0, "detector_shape": (43, 86)}


def test_ap_is_displayed_as_pa():
    pa, ap = ConeBeam.pa(**CHEST), ConeBeam.ap(**CHEST)
    assert ap.source == (0, -1500, 0)
    assert ap.column_step == pa.column_step == (5, 0, 0)
    assert ap.row_step == pa.row_step == (0, 0, -10)


def test_oblique_angles_in_a_radiographers_words():
    assert ConeBeam.oblique(angle=0, **CHEST) == ConeBeam.pa(**CHEST)
    turned = ConeBeam.oblique(angle=90, **CHEST)
    lateral = ConeBeam.lateral(detector_side="left", **CHEST)
    for name in ("source", "detector_centre", "column_step", "row_step"):
        np.testing.assert_allclose(getattr(turned, name), getattr(lateral, name), atol=1e-9)
    left_anterior = ConeBeam.oblique(angle=45, **CHEST)
    assert left_anterior.detector_centre[0] > 0  # the patient's left
    assert left_anterior.detector_centre[1] < 0  # front is at the detector
    to_the_head = ConeBeam.oblique(angle=0, tilt=20, **CHEST)
    assert to_the_head.source[2] == pytest.approx(-1500 * math.sin(math.radians(20)))
    assert np.dot(to_the_head.row_step, np.subtract(to_the_head.detector_centre, to_the_head.source)) == pytest.approx(
        0
    )


VIEWS = {
    "pa": ConeBeam.pa(**CHEST),
    "lateral-moved": ConeBeam.lateral(detector_side="right", **CHEST).moved((7, -8, 9)),
    "oblique": ConeBeam.oblique(angle=33, tilt=-11, **CHEST),
    "detector-off-the-central-ray": ConeBeam(
        source=(0, 1500, 0),
        detector_centre=(0, -300, 400),  # away from the foot of the perpendicular
        column_step=(3, 0, 0),
        row_step=(0, 0, -3),
        detector_shape=(43, 86),
    ),
    "parallel-oblique": ParallelBeam.oblique(angle=33, tilt=-11, detector_shape=(43, 86)),
    "parallel-mirrored": ParallelBeam.pa(detector_shape=(43, 86)).moved((7, -8, 9)).mirrored(),
}
ANY = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


def ray_through(view, row, column):
    """A point of a pixel's ray at 70 % of its way, straight from the fields."""
    pixel = (
        np.array(view.detector_centre)
        + (row - (view.detector_shape[0] - 1) / 2) * np.array(view.row_step)
        + (column - (view.detector_shape[1] - 1) / 2) * np.array(view.column_step)
    )
    if isinstance(view, ParallelBeam):
        return pixel - 123.0 * np.array(view.direction)
    return np.array(view.source) + 0.7 * (pixel - view.source)


@ANY
def test_points_appear_where_their_ray_ends(view):
    pixels = [(0, 0), (42, 85), (10.5, 20.25)]
    points = np.array([ray_through(view, *pixel) for pixel in pixels])
    np.testing.assert_allclose(view.project_points(points), pixels, atol=1e-9)
    matrix = -3.0 * view.projection_matrix
    if isinstance(view, ParallelBeam):
        back = ParallelBeam.from_projection_matrix(matrix, detector_shape=view.detector_shape)
    else:
        back = ConeBeam.from_projection_matrix(matrix, sdd=view.sdd, detector_shape=view.detector_shape)
        np.testing.assert_allclose(back.source, view.source, atol=1e-9)
        np.testing.assert_allclose(back.detector_centre, view.detector_centre, atol=1e-9)
    np.testing.assert_allclose(back.project_points(points), pixels, atol=1e-9)
    np.testing.assert_allclose(np.abs(back.column_step), np.abs(view.column_step), atol=1e-9)


def test_voxels_appear_where_their_centre_does():
    grid = VolumeGrid((10, 20, 30), (3.0, 2.0, 1.0))
    view = ConeBeam.oblique(angle=20, **CHEST)
    # voxel (d, h, w) -> x to the left with w, y to the back with h, z to the head against d
    expected = view.project_points([[(25 - 14.5) * 1.0, (4 - 9.5) * 2.0, -(8 - 4.5) * 3.0]])
    np.testing.assert_allclose(view.project_points([[8, 4, 25]], grid), expected)


def test_a_point_behind_the_source_has_no_image():
    pa = ConeBeam.pa(**CHEST)
    assert np.isnan(pa.project_points([[0, 1600, 0]])).all()
    for y in (1500, 1600):
        with pytest.raises(InputError, match="level with the source or behind it"):
            pa.magnification((0, y, 0))
    behind = ConeBeam.pa(sdd=900, sod=500).moved((0, -1000, 0))
    assert not behind.ray_support(VolumeGrid((16, 16, 16), 20.0)).any()


def test_magnification_and_field():
    pa = preset("x2ct")[0]
    assert pa.magnification() == pytest.approx(949 / 541)
    assert pa.magnification((0, 100, 0)) == pytest.approx(949 / 441)
    assert pa.field_at_isocentre == pytest.approx((500 * 541 / 949, 500 * 541 / 949))
    assert ParallelBeam.pa(detector_size=320).magnification((5, 6, 7)) == 1
    assert ParallelBeam.pa(detector_size=320).field_at_isocentre == pytest.approx((320, 320))


@ANY
def test_ray_support_is_the_line_integral_of_one(view):
    grid = VolumeGrid((30, 40, 50), (4.0, 3.0, 2.5))
    # A dense walk along each ray, counting steps inside the box.
    half = np.array(grid.size)[::-1] / 2
    for row, column in ((0, 0), (21, 43), (30, 60), (42, 85)):
        start = np.array(view.source) if isinstance(view, ConeBeam) else ray_through(view, row, column)
        towards = ray_through(view, row, column) - start if isinstance(view, ConeBeam) else np.array(view.direction)
        towards = towards / np.linalg.norm(towards)
        steps = np.arange(0 if isinstance(view, ConeBeam) else -400, 2000, 0.05)
        inside = (np.abs(start + steps[:, None] * towards) <= half).all(axis=1)
        assert view.ray_support(grid)[row, column] == pytest.approx(inside.sum() * 0.05, abs=0.2)


def test_the_authors_slip_and_mirroring_are_numbers():
    pa, lateral = preset("x2ct")
    slipped = pa.moved(X2CT_ISOCENTRE_SLIP)
    assert slipped.source == (0, 541, -0.5)
    assert slipped.detector_centre == (0, -408, -0.5)
    assert X2CT_MIRRORED == {"pa": True, "lateral": False}
    assert pa.mirrored().column_step == (-500 / 128, 0, 0)
    assert pa.mirrored().mirrored() == pa
    assert lateral.moved((0, 0, 0)) == lateral


@ANY
def test_every_repr_rebuilds_its_view(view):
    assert eval(repr(view)) == view


def test_a_parallel_beam_keeps_its_own_direction():
    """Scaling a unit vector to length 1 again may move its last bit, so that a view would not equal its copy."""
    generator = np.random.default_rng(0)
    for _ in range(1000):
        view = ParallelBeam.oblique(angle=generator.uniform(-180, 180), tilt=generator.uniform(-60, 60))
        assert dataclasses.replace(view) == view
        assert np.linalg.norm(view.direction) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: ConeBeam.pa(sdd=1e9, sod=1e8), "use ParallelBeam", id="source-at-infinity"),
        pytest.param(
            lambda: ConeBeam.pa(sdd=1800, sod=1500, detector_shape=(128,)),
            "two positive integers",
            id="detector-of-one-number",
        ),
        pytest.param(
            lambda: ConeBeam.pa(sdd=1800, sod=1500).project_points([[1, 2]]),
            r"shape \(N, 3\)",
            id="points-of-two-numbers",
        ),
        pytest.param(
            lambda: ParallelBeam.lateral(detector_side="top"), "'left' or 'right'", id="parallel-lateral-without-a-side"
        ),
        pytest.param(
            lambda: ParallelBeam(
                direction=(0, 0, 0), detector_centre=(0, 0, 0), column_step=(1, 0, 0), row_step=(0, 0, -1)
            ),
            "must not be zero",
            id="no-direction",
        ),
        pytest.param(
            lambda: ParallelBeam(
                direction=(1, 0, 0), detector_centre=(0, 0, 0), column_step=(1, 0, 0), row_step=(0, 0, -1)
            ),
            "along the detector's plane",
            id="rays-along-the-detector",
        ),
        pytest.param(
            lambda: ConeBeam.from_projection_matrix(np.zeros((4, 4)), sdd=1000),
            r"shape \(3, 4\)",
            id="matrix-of-four-rows",
        ),
        pytest.param(
            lambda: ConeBeam.from_projection_matrix(VIEWS["parallel-oblique"].projection_matrix, sdd=1000),
            "no centre of projection",
            id="affine-matrix-of-a-cone",
        ),
        pytest.param(
            lambda: ParallelBeam.from_projection_matrix(VIEWS["pa"].projection_matrix),
            r"last row \(0, 0, 0, w\)",
            id="cone-matrix-of-parallel-rays",
        ),
    ],
)
def test_other_contradictions_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
