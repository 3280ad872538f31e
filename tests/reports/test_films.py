"""Figures of films show each film, its frames and what the network was shown of it."""

import numpy as np
import pytest

from conventions import View
from readers import DecisionRecord, LungBox, PlacedFilm
from reports import VIEW_LETTERS, film_figure
from reports.figures import PLANES, VIEW_TITLES
from tests.reports.pictures import panels


def placed(view, number, lungs=None):
    picture = np.full((30 + number, 40), number / 10, np.float32)
    return PlacedFilm(View(view), picture, lungs, (-2.0, 28.0, 1.0, 43.0), DecisionRecord("film.png"))


@pytest.mark.parametrize("with_prediction", [pytest.param(True, id="volume"), pytest.param(False, id="films alone")])
@pytest.mark.parametrize(
    "views",
    [
        pytest.param(("pa",), id="PA"),
        pytest.param(("lateral",), id="lateral"),
        pytest.param(("pa", "lateral"), id="PA and lateral"),
        pytest.param(("lateral", "pa"), id="lateral and PA"),
        pytest.param(("pa", "lateral", "pa", "lateral", "pa"), id="five films"),
        pytest.param(("lateral", "pa") * 4, id="eight films"),
    ],
)
def test_films_and_what_was_shown_follow_the_views(views, with_prediction):
    films = [placed(view, number) for number, view in enumerate(views)]
    image = np.random.default_rng(0).random((len(views), 16, 16))
    volume = np.random.default_rng(1).normal(0, 300, (8, 8, 8))
    figure = film_figure(films, image, volume if with_prediction else None)
    names = [VIEW_TITLES[view] for view in views]
    of_films, of_network = panels(figure, "film"), panels(figure, "shown to the network")
    assert [title for title, _ in of_films] == [f"film, {name}" for name in names]
    assert [title for title, _ in of_network] == [f"shown to the network, {name}" for name in names]
    for number, view in enumerate(views):
        film, to_network = of_films[number][1], of_network[number][1]
        np.testing.assert_array_equal(film.pixels, films[number].picture)
        np.testing.assert_array_equal(to_network.pixels, image[number])
        assert film.letters == to_network.letters == VIEW_LETTERS[view]
    planes = dict(panels(figure, "synthetic CT"))
    assert len(panels(figure)) == 2 * len(views) + len(planes)
    assert list(planes) == ([f"synthetic CT, {plane}" for plane in PLANES] if with_prediction else [])
    for plane, (axis, letters) in PLANES.items():
        if with_prediction:
            np.testing.assert_array_equal(planes[f"synthetic CT, {plane}"].pixels, volume.take(4, axis))
            assert planes[f"synthetic CT, {plane}"].letters == letters


def test_the_field_of_view_and_the_lungs_are_framed():
    lungs = LungBox(top=4.0, bottom=24.0, left=8.0, right=32.0, score=0.87)
    figure = film_figure([placed("pa", 1, lungs), placed("lateral", 2)], np.zeros((2, 16, 16)))
    films = [axes for axes in figure.axes if axes.get_title().startswith("film")]
    frames = [{patch.get_label(): patch.get_bbox().extents.tolist() for patch in axes.patches} for axes in films]
    # (left, top, right, bottom); matplotlib's pixels have their centres at whole numbers.
    field = {"field of view of the model": [0.5, -2.5, 42.5, 27.5]}
    assert frames == [{**field, "lungs (0.87)": [7.5, 3.5, 31.5, 23.5]}, field]
    for axes in films:  # all of film and frame is visible
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert left < -0.5
        assert right > 42.5
        assert top < -2.5
        assert bottom > 31.5


def test_films_and_radiographs_must_be_as_many():
    with pytest.raises(ValueError, match="longer"):
        film_figure([placed("pa", 1)], np.zeros((2, 16, 16)))


def test_the_expected_error_is_a_row_below_the_volume():
    films = [placed("pa", 1), placed("lateral", 2)]
    image, volume = np.zeros((2, 16, 16)), np.zeros((8, 8, 8))
    figure = film_figure(films, image, volume, error_hu=np.full((8, 8, 8), 60.0))
    [*_, (last, panel)] = panels(figure, "expected error")
    assert last == f"expected error, {list(PLANES)[-1]}"
    assert float(panel.pixels.mean()) == 60
    above, below = (next(a for a in figure.axes if a.get_title() == f"{w}, axial") for w in ("synthetic CT", last[:14]))
    assert below.get_gridspec() is above.get_gridspec()
    assert below.get_subplotspec().rowspan.start == above.get_subplotspec().rowspan.start + 1
