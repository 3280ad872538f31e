import numpy as np
import pytest

from conventions import InputError
from drr import PRESETS, ConeBeam, ParallelBeam, preset
from drr.named_views import VIEW_NAMES, named_view, oblique_view


@pytest.mark.parametrize("geometry", PRESETS)
def test_pa_and_lateral_are_those_of_the_preset(geometry):
    assert (named_view("pa", geometry), named_view("lateral", geometry)) == preset(geometry)


def test_ap_and_the_laterals_turn_the_beam_alone():
    assert named_view("ap").source == (0, -1650, 0)
    assert named_view("left_lateral").source == (-1600, 0, 0)
    assert named_view("right_lateral").source == (1600, 0, 0)
    assert named_view("right_lateral", "x2ct") == named_view("lateral", "x2ct")


def test_an_oblique_view_has_the_numbers_of_the_pa():
    view = oblique_view(45, "chest", (64, 32))
    assert view == ConeBeam.oblique(angle=45, sdd=1800, sod=1650, detector_size=430, detector_shape=(64, 32))


@pytest.mark.parametrize("name", VIEW_NAMES)
def test_parallel_rays_cover_the_field_at_the_isocentre(name):
    cone, rays = named_view(name), named_view(f"parallel_{name}")
    assert isinstance(rays, ParallelBeam)
    assert rays.field_at_isocentre == pytest.approx(cone.field_at_isocentre)
    plane = np.array([[0.0, 0.0, 0.0], np.array(rays.column_step) * 10, np.array(rays.row_step) * 10])
    np.testing.assert_allclose(rays.project_points(plane), cone.project_points(plane), atol=1e-9)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(InputError, match=r"unknown view 'front': choose of pa, ap, lateral"):
        named_view("front")
    with pytest.raises(InputError, match=r"unknown geometry 'abdomen': choose one of x2ct, chest"):
        oblique_view(0, "abdomen")
