import numpy as np
import pytest

from conventions import InputError
from drr import PRESETS, VIEW_NAMES, ConeBeam, ParallelBeam, preset


@pytest.mark.parametrize("name", PRESETS)
def test_pa_and_lateral_are_the_default_views(name):
    assert preset(name, views=("pa", "lateral")) == preset(name)
    assert preset(name, views=("lateral", "pa")) == preset(name)[::-1]


def test_ap_and_the_laterals_turn_the_beam_alone():
    ap, left, right = preset("chest", views=("ap", "left_lateral", "right_lateral"))
    assert ap.source == (0, -1650, 0)
    assert left.source == (-1600, 0, 0)
    assert right.source == (1600, 0, 0)
    assert preset("x2ct", views=("right_lateral",)) == preset("x2ct", views=("lateral",))


def test_an_oblique_view_has_the_numbers_of_the_pa():
    (view,) = preset("chest", (64, 32), ("oblique_45",))
    assert view == ConeBeam.oblique(angle=45, sdd=1800, sod=1650, detector_size=430, detector_shape=(64, 32))


def test_the_angle_of_an_oblique_view_may_be_negative_or_a_fraction():
    numbers = {"sdd": 1800, "sod": 1650, "detector_size": 430}
    views = preset("chest", views=("oblique_-30", "oblique_12.5"))
    assert views == (ConeBeam.oblique(angle=-30, **numbers), ConeBeam.oblique(angle=12.5, **numbers))


@pytest.mark.parametrize("name", [*VIEW_NAMES, "oblique_45"])
def test_parallel_rays_cover_the_field_at_the_isocentre(name):
    cone, rays = preset("chest", views=(name, f"parallel_{name}"))
    assert isinstance(rays, ParallelBeam)
    assert rays.field_at_isocentre == pytest.approx(cone.field_at_isocentre)
    plane = np.array([[0.0, 0.0, 0.0], np.array(rays.column_step) * 10, np.array(rays.row_step) * 10])
    np.testing.assert_allclose(rays.project_points(plane), cone.project_points(plane), atol=1e-9)


@pytest.mark.parametrize(
    "name", ["front", "parallel_", "oblique_", "oblique_left", "oblique_inf", "parallel_parallel_pa"]
)
def test_an_unknown_view_is_answered_with_the_known_ones(name):
    with pytest.raises(InputError, match=rf"unknown view '{name}': choose from pa, ap, lateral.*oblique_45"):
        preset("chest", views=("pa", name))


def test_an_unknown_geometry_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown geometry 'abdomen': choose one of x2ct, chest"):
        preset("abdomen")


def test_a_preset_of_no_views_is_refused():
    with pytest.raises(InputError, match="no views are named: choose from pa, ap"):
        preset("chest", views=())
