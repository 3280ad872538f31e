"""Figures show the right volume in the right panel, and the patient's sides where their letters say."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from conventions import AXIS_DIRECTIONS_LPS, HU_WINDOW, InputError, View
from drr import Acquisition, VolumeGrid, edge_letters, preset
from reports import VIEW_LETTERS, case_figure, draw_case, draw_losses, draw_radiographs, save_figure
from reports.figures import PLANES, RADIOGRAPHS_PER_ROW, radiographs_figure
from tests.reports.pictures import panels
from transforms import RayCastDRR

SIDE = 32
GRID = VolumeGrid(SIDE, 10.0)

EDGES = {(0, 0, -1): ("H", "F"), (0, 1, 0): ("A", "P"), (1, 0, 0): ("R", "L")}
"""Direction of an axis in LPS -> the letters at its start and end."""

VIEWS = {
    "pa": "PA",
    "lateral": "right lateral",
    "oblique_45": "oblique 45°",
    "ap": "AP",
    "left_lateral": "left lateral",
    "oblique_-60": "oblique -60°",
    "parallel_pa": "parallel PA",
    "parallel_oblique_120": "parallel oblique 120°",
}
"""Eight views of the geometry x2ct -> what their pictures are called."""


def marked(*marks):
    """Air with a dense block at each (x, y, z), one of -1, 0 and 1 each: left, back and head are 1."""
    volume = np.full((SIDE, SIDE, SIDE), -1000.0, np.float32)
    for x, y, z in marks:
        d, h, w = (slice(start, start + 4) for start in (14 - 10 * z, 14 + 10 * y, 14 + 10 * x))
        volume[d, h, w] = 1000
    return volume


def test_letters_follow_the_axes_of_the_volume():
    edges = [EDGES[tuple(int(v) for v in direction)] for direction in AXIS_DIRECTIONS_LPS]
    for axis, letters in PLANES.values():
        rows, columns = (edges[other] for other in range(3) if other != axis)
        assert letters == (*rows, *columns)


def test_letters_of_views_are_those_of_the_presets():
    for geometry in ("x2ct", "chest"):
        assert [edge_letters(beam) for beam in preset(geometry)] == [VIEW_LETTERS[view] for view in View]


def test_truth_prediction_and_difference_are_in_their_panels():
    truth = np.linspace(-900, 400, SIDE**3, dtype=np.float32).reshape(SIDE, SIDE, SIDE)
    prediction = truth[::-1] + 50
    shown = dict(panels(case_figure(np.zeros((2, 16, 16)), prediction, truth)))
    for plane, (axis, letters) in PLANES.items():
        for name, volume in (("truth", truth), ("prediction", prediction)):
            panel = shown[f"{name}, {plane}"]
            np.testing.assert_array_equal(panel.pixels, volume.take(SIDE // 2, axis))
            assert panel.letters == letters
            assert panel.colours == HU_WINDOW
        difference = shown[f"prediction - truth, {plane}"]
        np.testing.assert_array_equal(difference.pixels, (prediction - truth).take(SIDE // 2, axis))
        assert difference.letters == letters
        assert difference.colours == (-500, 500)


def test_too_much_is_positive_in_the_difference():
    truth = np.zeros((SIDE, SIDE, SIDE))
    shown = dict(panels(case_figure(np.zeros((2, 16, 16)), truth + 100, truth)))
    assert {float(shown[f"prediction - truth, {plane}"].pixels.mean()) for plane in PLANES} == {100.0}


def test_without_truth_the_prediction_stands_alone():
    shown = panels(case_figure(np.zeros((2, 16, 16)), np.zeros((8, 8, 8))))
    assert sorted(title for title, _ in shown) == [
        *(f"prediction, {plane}" for plane in PLANES),
        "radiograph, PA",
        "radiograph, lateral",
    ]


@pytest.mark.parametrize(
    ("mark", "letter", "opposite"),
    [
        pytest.param((1, 0, 0), "L", "R", id="left"),
        pytest.param((0, 1, 0), "P", "A", id="back"),
        pytest.param((0, 0, 1), "H", "F", id="head"),
    ],
)
def test_a_mark_lies_at_the_letter_of_its_side(mark, letter, opposite):
    volume = marked(mark)
    acquisition = Acquisition(grid=GRID, view_names=tuple(VIEWS), detector_shape=64)
    image = RayCastDRR(acquisition)(torch.from_numpy(volume)[None])
    shown = panels(case_figure(image.numpy(), volume, geometry=image.meta["geometry"]))
    checked = set()
    for title, panel in shown:
        # The largest direction comes first: "LP" is more to the left than to the back.
        edges = [edge for edge in panel.letters if edge in (letter, opposite)]
        if edges and panel.pixels.max() > panel.pixels.min():
            there, elsewhere = (panel.side(edge).astype(float) - panel.pixels.min() for edge in (letter, opposite))
            assert there.sum() > 10 * elsewhere.sum(), title
            checked.add(title)
    frontal, lateral = {"radiograph, PA", "radiograph, AP"}, {"radiograph, right lateral", "radiograph, left lateral"}
    assert checked >= {"L": frontal | {"prediction, axial", "prediction, coronal"},
                       "P": lateral | {"prediction, axial", "prediction, sagittal"},
                       "H": frontal | lateral | {"prediction, coronal", "prediction, sagittal"}}[letter]  # fmt: skip


@pytest.mark.parametrize(
    ("view", "letters"),
    [
        pytest.param("oblique_45", ("H", "F", "RA", "LP"), id="left anterior oblique"),
        pytest.param("oblique_-60", ("H", "F", "PR", "AL"), id="right anterior oblique"),
    ],
)
def test_oblique_views_have_the_two_letters_of_each_side(view, letters):
    # A mark at the left back and one at the right front lie at the two edges of a left anterior oblique.
    acquisition = Acquisition(grid=GRID, view_names=(view,), detector_shape=64)
    for mark in itertools.product((-1, 1), (-1, 1), (0,)):
        image = RayCastDRR(acquisition)(torch.from_numpy(marked(mark))[None])
        figure = case_figure(image.numpy(), marked(mark), geometry=image.meta["geometry"])
        ((_, panel),) = panels(figure, "radiograph")
        assert panel.letters == letters
        towards = sum({"L": mark[0], "R": -mark[0], "P": mark[1], "A": -mark[1]}[letter] for letter in letters[3])
        if towards:
            right, left = panel.side(letters[3]).sum(), panel.side(letters[2]).sum()
            assert (right > left) == (towards > 0)


@pytest.mark.parametrize("count", range(1, 9))
def test_any_number_of_views_is_drawn_with_its_name_and_letters(count):
    acquisition = Acquisition(view_names=tuple(VIEWS)[:count], detector_shape=(24, 16))
    image = np.random.default_rng(0).random((count, 24, 16))
    volume = np.zeros((8, 8, 8))
    figure = case_figure(image, volume, volume, geometry=acquisition.geometry_tensor())
    shown = panels(figure, "radiograph")
    assert [title for title, _ in shown] == [f"radiograph, {VIEWS[name]}" for name in acquisition.view_names]
    for (_, panel), pixels, beam in zip(shown, image, acquisition.views, strict=True):
        np.testing.assert_array_equal(panel.pixels, pixels)
        assert panel.letters == edge_letters(beam)
        assert panel.colours == (0, 1)
    assert len(panels(figure)) == count + 9
    figure.draw_without_rendering()  # lays out
    boxes = [axes.get_position() for axes in figure.axes if axes.images]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    assert all(box.width > 0.08 and box.height > 0.15 for box in boxes)


def test_a_tilted_view_is_named_with_its_tilt():
    sin, cos = np.sin(np.radians(10)), np.cos(np.radians(10))
    centre = torch.tensor([0.0, -200 * cos, 200 * sin])
    tilted = torch.stack([-5 * centre, centre, torch.tensor([2.0, 0, 0]), torch.tensor([0, -2 * sin, -2 * cos])])
    shown = panels(case_figure(np.zeros((1, 8, 8)), np.zeros((4, 4, 4)), geometry=tilted[None].float()))
    assert shown[0][0] == "radiograph, PA, tilted 10°"
    assert shown[0][1].letters == ("HP", "FA", "R", "L")


def test_without_geometry_the_first_two_views_are_pa_and_lateral():
    shown = panels(case_figure(np.zeros((3, 8, 8)), np.zeros((4, 4, 4))), "radiograph")
    assert [(title, panel.letters) for title, panel in shown] == [
        ("radiograph, PA", ("H", "F", "R", "L")),
        ("radiograph, lateral", ("H", "F", "A", "P")),
        ("radiograph, view 3", ("", "", "", "")),
    ]


def test_a_geometry_of_other_views_is_refused():
    with pytest.raises(InputError, match="the geometry describes 2 views of a case with 3 radiographs"):
        case_figure(np.zeros((3, 8, 8)), np.zeros((4, 4, 4)), geometry=Acquisition().geometry_tensor())


def test_a_case_is_written_as_its_figure(tmp_path):
    volume, image = marked((1, 0, 0)), np.zeros((2, 16, 16))
    geometry = Acquisition(view_names=("ap", "oblique_45")).geometry_tensor()
    path = draw_case(tmp_path / "case.png", image, volume, volume, "title", geometry)
    assert [file.name for file in tmp_path.iterdir()] == ["case.png"]
    again = save_figure(case_figure(image, volume, volume, "title", geometry), tmp_path / "again.png")
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(again)))


def test_radiographs_are_drawn_with_their_letters_in_rows(tmp_path):
    images = np.random.default_rng(0).random((5, 16, 16))
    letters = [("H", "F", "R", "L"), ("H", "F", "A", "P"), ("H", "F", "RA", "LP"), ("F", "H", "L", "R"), ("",) * 4]
    figure = radiographs_figure(images, list("abcde"), letters, "title")
    shown = panels(figure)
    assert [title for title, _ in shown] == list("abcde")
    for (_, panel), pixels, edges in zip(shown, images, letters, strict=True):
        np.testing.assert_array_equal(panel.pixels, pixels)
        assert panel.letters == edges
    tops = [axes.get_subplotspec().rowspan.start for axes in figure.axes if axes.images]
    assert tops == [0] * RADIOGRAPHS_PER_ROW + [1]
    assert draw_radiographs(tmp_path / "check.png", images, list("abcde"), letters) == tmp_path / "check.png"
    assert Image.open(tmp_path / "check.png").width > Image.open(tmp_path / "check.png").height


def test_losses_are_written(tmp_path):
    path = draw_losses(tmp_path / "losses.png", {"loss": [2.0, 1.0]}, {1: 20.0, 2: 21.0}, "psnr_db")
    assert np.asarray(Image.open(path)).std() > 0


def test_the_expected_error_has_panels_of_its_own():
    """Next to the prediction, in its own colours from 0 on."""
    image, volume = np.zeros((2, 8, 8), np.float32), np.zeros((8, 8, 8), np.float32)
    figure = case_figure(image, volume, error_hu=np.full((8, 8, 8), 120, np.float32))
    panels = {axes.get_title(): axes.images[0] for axes in figure.axes if axes.get_title()}
    shown = [title for title in panels if title.startswith("expected error")]
    assert shown == ["expected error, axial", "expected error, coronal", "expected error, sagittal"]
    assert float(panels[shown[0]].get_array().mean()) == 120
    assert panels[shown[0]].get_clim() == (0, 500)
