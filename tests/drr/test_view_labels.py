import json

import numpy as np
import pytest

from drr import ConeBeam, ParallelBeam, from_dicom_tags, preset
from drr.view_labels import (
    detector_affine,
    direction_letters,
    edge_letters,
    pose_of,
    source_to_patient,
    view_position,
    view_record,
)


def view_of(name, geometry="chest", detector_shape=(128, 128)):
    (view,) = preset(geometry, detector_shape, (name,))
    return view


SIDES = {"L": (1, 0, 0), "P": (0, 1, 0), "H": (0, 0, 1), "RA": (-2, -1, 0), "AF": (0, -2, -1), "LPF": (3, 2, -1)}


@pytest.mark.parametrize(("letters", "direction"), SIDES.items())
def test_letters_name_a_direction_largest_first(letters, direction):
    assert direction_letters(direction) == letters


@pytest.mark.parametrize("name", ["pa", "ap", "parallel_pa"])
def test_a_frontal_view_has_the_left_on_the_right(name):
    assert edge_letters(view_of(name)) == ("H", "F", "R", "L")


@pytest.mark.parametrize("name", ["lateral", "left_lateral", "right_lateral"])
def test_a_lateral_view_has_the_front_on_the_left(name):
    assert edge_letters(view_of(name)) == ("H", "F", "A", "P")


def test_an_oblique_view_has_two_letters():
    assert edge_letters(view_of("oblique_30")) == ("H", "F", "RA", "LP")
    assert edge_letters(view_of("oblique_-60")) == ("H", "F", "PR", "AL")


def test_view_position_follows_the_beam():
    names = {"pa": "PA", "ap": "AP", "left_lateral": "LL", "right_lateral": "RL", "parallel_lateral": "LL"}
    assert {name: view_position(view_of(name)) for name in names} == names
    assert [view_position(view_of(f"oblique_{angle}")) for angle in (0, 90, -90, 180, 45)] == [
        "PA",
        "LL",
        "RL",
        "AP",
        "",
    ]
    assert pose_of(view_of("lateral", "x2ct")) == "right"


@pytest.mark.parametrize("geometry", ["chest", "x2ct"])
def test_the_tags_lead_back_to_the_view(geometry):
    for view in preset(geometry, (64, 48)):
        tags = {
            "Rows": 64,
            "Columns": 48,
            "ViewPosition": view_position(view),
            "ImagerPixelSpacing": [np.linalg.norm(view.row_step), np.linalg.norm(view.column_step)],
            "DistanceSourceToDetector": view.sdd,
            "DistanceSourceToPatient": source_to_patient(view),
        }
        assert from_dicom_tags(tags)[0] == view
    assert source_to_patient(view_of("oblique_45")) is None
    assert source_to_patient(view_of("parallel_pa")) is None


@pytest.mark.parametrize("name", ["pa", "lateral", "parallel_ap"])
def test_the_affine_puts_pixels_where_the_detector_stands(name):
    view = view_of(name, "chest", (4, 6))
    affine = detector_affine(view, (10, 20, 30))
    ras = affine @ [5, 3, 0, 1]  # the last column and row
    expected = np.array(view.detector_centre) + 2.5 * np.array(view.column_step) + 1.5 * np.array(view.row_step)
    np.testing.assert_allclose(ras[:3] * [-1, -1, 1], np.add(expected, (10, 20, 30)))
    assert np.linalg.norm(affine[:3, 2]) == pytest.approx(1)


def test_a_record_rebuilds_the_view():
    record = json.loads(json.dumps(view_record(view_of("oblique_45"))))
    assert ConeBeam(**record["view"]) == view_of("oblique_45")
    assert (record["sdd_mm"], record["sod_mm"]) == pytest.approx((1800, 1650))
    rays = view_of("parallel_lateral")
    record = json.loads(json.dumps(view_record(rays)))
    assert record["beam"] == "ParallelBeam"
    assert ParallelBeam(**record["view"]) == rays
    assert "sdd_mm" not in record
