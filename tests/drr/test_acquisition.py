"""The object that says how a CT becomes radiographs: what it holds, refuses, records and compares."""

import dataclasses
import json
import pickle

import pytest
import torch

from conventions import InputError
from drr import Acquisition, ConeBeam, ParallelBeam, VolumeGrid, geometry_tensor, preset

NUMBERS = {"sdd": 1800, "sod": 1650, "detector_size": 430, "detector_shape": (48, 40)}
CONE = ConeBeam.lateral(detector_side="left", **NUMBERS)
RAYS = ParallelBeam.oblique(angle=45.1, tilt=7, detector_shape=(48, 40))
OBLIQUE = ConeBeam.oblique(angle=-30, tilt=10, **NUMBERS).moved((1.5, 0, -2))

EVERY_KIND = pytest.mark.parametrize(
    "acquisition",
    [
        pytest.param(Acquisition(), id="paper"),
        pytest.param(
            Acquisition(
                grid=VolumeGrid((64, 80, 96), (4.0, 3.5, 3.0)),
                geometry="chest",
                view_names=("pa", "oblique_45", "parallel_ap"),
                curve="water",
                film_style="logistic",
                detector_shape=(64, 32),
                anchor="centre",
            ),
            id="preset-with-every-argument",
        ),
        pytest.param(Acquisition(geometry=[CONE]), id="cone"),
        pytest.param(Acquisition(geometry=[RAYS]), id="parallel"),
        pytest.param(Acquisition(geometry=[OBLIQUE, CONE, RAYS]), id="mixed-view-objects"),
        pytest.param(Acquisition(geometry=[OBLIQUE, CONE], view_names=["rao", "left"]), id="named-view-objects"),
    ],
)


def test_the_defaults_are_the_papers():
    paper = Acquisition()
    assert paper.views == preset("x2ct", (128, 128))
    assert paper.view_names == ("pa", "lateral")
    assert (paper.grid, paper.curve, paper.film_style, paper.anchor) == (
        VolumeGrid(128, 2.5),
        "plastimatch",
        "x2ct",
        "head",
    )


def test_it_is_frozen_and_takes_keywords_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Acquisition().curve = "water"
    with pytest.raises(TypeError, match="positional argument"):
        Acquisition(VolumeGrid(128, 2.5))


@EVERY_KIND
def test_repr_rebuilds_it(acquisition):
    assert eval(repr(acquisition)) == acquisition


@EVERY_KIND
def test_equal_ones_are_one_key_and_survive_a_worker(acquisition):
    twin = acquisition.replace()
    assert {acquisition: "found"}[twin] == "found"
    sent = pickle.loads(pickle.dumps(acquisition))
    assert (sent, sent.views, hash(sent)) == (acquisition, acquisition.views, hash(acquisition))
    assert acquisition != acquisition.replace(curve="bone")


@EVERY_KIND
def test_the_record_survives_json(acquisition):
    record = acquisition.record()
    read = json.loads(json.dumps(record))
    assert read == record
    assert Acquisition.from_record(read) == acquisition
    assert acquisition.difference(Acquisition.from_record(read)) == ""


@EVERY_KIND
def test_the_geometry_tensor_is_one_case_of_drrs(acquisition):
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(acquisition.geometry_tensor(dtype), geometry_tensor(acquisition.views, dtype)[0])


def test_arguments_are_brought_to_one_form():
    loose = Acquisition(view_names=["pa"], detector_shape=64)
    assert loose == Acquisition(view_names=("pa",), detector_shape=(64, 64))
    assert Acquisition(geometry=[CONE]) == Acquisition(geometry=(CONE,), detector_shape=[48, 40])


@pytest.mark.parametrize("count", range(1, 9))
def test_one_to_eight_views_pass(count):
    names = [f"oblique_{20 * i}" for i in range(count)]
    by_name = Acquisition(geometry="chest", view_names=names)
    by_view = Acquisition(geometry=preset("chest", views=names))
    assert by_name.views == by_view.views
    assert by_name.geometry_tensor().shape == (count, 4, 3)


@pytest.mark.parametrize("count", [0, 9])
def test_no_view_and_nine_views_are_refused(count):
    names = [f"oblique_{i}" for i in range(count)]
    views = [ConeBeam.oblique(angle=i, **NUMBERS) for i in range(count)]
    for arguments in ({"view_names": names}, {"geometry": views}):
        with pytest.raises(InputError, match=f"{count} views are asked for: give one to 8"):
            Acquisition(**arguments)


def test_view_objects_are_named_after_their_pose():
    views = [
        ConeBeam.pa(**NUMBERS),
        ConeBeam.ap(**NUMBERS),
        CONE,
        OBLIQUE,
        ConeBeam.lateral(detector_side="right", **NUMBERS),
        ParallelBeam.lateral(detector_side="left", detector_shape=(48, 40)),
        ConeBeam.pa(**NUMBERS).moved((20, 0, 0)),
    ]
    names = ("pa", "ap", "left_lateral", "view_4", "right_lateral", "parallel_left_lateral", "view_7")
    assert Acquisition(geometry=views).view_names == names


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param({"geometry": "abdomen"}, "unknown geometry 'abdomen': choose one of x2ct, chest", id="geometry"),
        pytest.param({"view_names": ["pa", "front"]}, "unknown view 'front': choose from pa, ap", id="view"),
        pytest.param({"curve": "steel"}, "unknown attenuation curve 'steel': choose one of water", id="curve"),
        pytest.param({"film_style": "film"}, "unknown film style 'film': choose one of linear, logistic", id="style"),
        pytest.param({"anchor": "feet"}, "unknown anchor 'feet': choose one of centre, head, lungs", id="anchor"),
        pytest.param({"grid": 128}, "grid must be a VolumeGrid, got 128", id="grid"),
        pytest.param({"detector_shape": (128, 0)}, "detector_shape must be two positive integers", id="no-pixels"),
        pytest.param({"detector_shape": "128"}, "detector_shape must be two positive integers", id="shape-in-words"),
        pytest.param({"view_names": "pa"}, "view_names must be a list of names, got 'pa'", id="one-word"),
        pytest.param({"view_names": 2}, "view_names must be a list of names, got 2", id="number-of-views"),
        pytest.param({"view_names": ["pa", "pa"]}, "each view is named once, got pa several times", id="twice"),
        pytest.param({"geometry": CONE}, "geometry must be the name of a preset or a list of view objects", id="bare"),
        pytest.param({"geometry": ["chest"]}, "geometry must be the name of a preset or a list of", id="list-of-names"),
        pytest.param(
            {"geometry": [CONE, ConeBeam.pa(sdd=1800, sod=1650, detector_shape=(9, 9))]},
            r"need one detector shape, got \[\(9, 9\), \(48, 40\)\]",
            id="view-objects-of-two-shapes",
        ),
        pytest.param(
            {"geometry": [CONE], "detector_shape": 64},
            r"detectors of \(48, 40\) pixels, not of 64",
            id="another-shape-than-the-view-objects",
        ),
        pytest.param(
            {"geometry": [CONE, OBLIQUE], "view_names": ["left"]},
            "view_names has 1 names for 2 view objects",
            id="too-few-names",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        Acquisition(**arguments)


def test_replacing_the_geometry_by_view_objects_takes_their_names_and_detector():
    replaced = Acquisition(curve="water").replace(geometry=[CONE])
    assert (replaced.view_names, replaced.detector_shape, replaced.curve) == (("left_lateral",), (48, 40), "water")
    chest = Acquisition(view_names=("pa",), detector_shape=64).replace(geometry="chest")
    assert chest.views == preset("chest", 64, ("pa",))
    with pytest.raises(InputError, match=r"not of \(64, 64\)"):
        replaced.replace(detector_shape=(64, 64))


DAMAGE = {
    "not-a-record": lambda record: [],
    "an-entry-missing": lambda record: {key: value for key, value in record.items() if key != "curve"},
    "an-entry-unknown": lambda record: {**record, "noise": 1e5},
    "no-views": lambda record: {**record, "views": []},
    "views-null": lambda record: {**record, "views": None},
    "unknown-curve": lambda record: {**record, "curve": ["water"]},
    "grid-without-spacing": lambda record: {**record, "grid": {"shape": [4, 4, 4]}},
    "grid-of-words": lambda record: {**record, "grid": {"shape": ["a", 4, 4], "spacing": [1, 1, 1]}},
    "detector-null": lambda record: {**record, "detector_shape": None},
    "geometry-null": lambda record: {**record, "geometry": None},
    "unknown-beam": lambda record: {**record, "geometry": [{"beam": "FanBeam"}]},
    "beam-without-source": lambda record: {**record, "geometry": [{"beam": "ConeBeam", "detector_centre": [0, 1, 2]}]},
    "beam-of-words": lambda record: {**record, "geometry": ["ConeBeam"]},
    "detector-of-another-shape": lambda record: {**record, "detector_shape": [7, 7]},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_record_is_refused_in_a_sentence(damage):
    record = json.loads(json.dumps(Acquisition(geometry=[CONE]).record()))
    with pytest.raises(InputError, match=r"^the record of (an|the) acquisition [^\n]*$"):
        Acquisition.from_record(damage(record))


HERE = Acquisition()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        pytest.param(HERE.replace(geometry="chest"), "geometry 'x2ct' instead of 'chest'", id="geometry"),
        pytest.param(HERE.replace(view_names=["pa"]), "views ['pa', 'lateral'] instead of ['pa']", id="views"),
        pytest.param(HERE.replace(curve="water"), "curve 'plastimatch' instead of 'water'", id="curve"),
        pytest.param(HERE.replace(film_style="linear"), "film style 'x2ct' instead of 'linear'", id="film-style"),
        pytest.param(
            HERE.replace(detector_shape=64), "detector shape [128, 128] instead of [64, 64]", id="detector-shape"
        ),
        pytest.param(
            HERE.replace(grid=VolumeGrid(128, 2.0)),
            "grid spacing [2.5, 2.5, 2.5] instead of [2.0, 2.0, 2.0]",
            id="grid",
        ),
        pytest.param(HERE.replace(anchor="centre"), "anchor 'head' instead of 'centre'", id="anchor"),
        pytest.param(
            HERE.replace(geometry="chest", curve="water"), "geometry 'x2ct' instead of 'chest'", id="first-of-two"
        ),
        pytest.param(
            HERE.replace(geometry=[CONE, OBLIQUE]), "geometry 'x2ct' instead of view objects (2)", id="view-objects"
        ),
    ],
)
def test_the_first_difference_is_named(other, words):
    assert HERE.difference(other) == words
    assert HERE.difference(HERE) == ""


def test_the_difference_of_view_objects_names_the_view_and_its_number():
    here = Acquisition(geometry=[OBLIQUE, CONE])
    moved = Acquisition(geometry=[OBLIQUE, CONE.moved((0, 0, 5))])
    assert here.difference(moved).startswith("view 2 detector centre [150.0, 0.0, 0.0] instead of [150.0, 0.0, 5.0]")
    parallel = Acquisition(geometry=[OBLIQUE, RAYS])
    assert here.difference(parallel) == "view 2 beam 'ConeBeam' instead of 'ParallelBeam'"


def test_entries_that_need_not_agree_are_passed_over():
    other = HERE.replace(geometry="chest", view_names=["pa"], grid=VolumeGrid(64, 5.0))
    assert HERE.difference(other, without=("geometry", "views")) == "grid shape [128, 128, 128] instead of [64, 64, 64]"
    assert HERE.difference(other, without=("geometry", "views", "grid")) == ""
