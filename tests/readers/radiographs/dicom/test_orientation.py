import numpy as np
import pytest

from tests.readers.radiographs.film_files import read, same, says, stored, thorax, unit, write

PIXELS = stored(thorax())


PLACES = {
    ("L", "F"): lambda film: film,
    ("R", "F"): lambda film: film[:, ::-1],
    ("L", "H"): lambda film: film[::-1],
    ("R", "H"): lambda film: film[::-1, ::-1],
    ("F", "L"): lambda film: film.T,
    ("F", "R"): lambda film: film[:, ::-1].T,
    ("H", "L"): lambda film: film[::-1].T,
    ("H", "R"): lambda film: film[::-1, ::-1].T,
}
"""How the upright film is stored, by the directions of its rows and columns."""


@pytest.mark.parametrize("view", ["pa", "lateral"])
@pytest.mark.parametrize("letters", PLACES, ids="".join)
def test_every_turn_is_undone(tmp_path, letters, view):
    film = stored(thorax(view=view))
    words = [letter.translate(str.maketrans("LR", "PA")) if view == "lateral" else letter for letter in letters]
    tags = {"PatientOrientation": words, "ViewPosition": "PA" if view == "pa" else "LL"}
    path = write(tmp_path / "a.dcm", np.ascontiguousarray(PLACES[letters](film)), **tags)
    image = read(path, view)
    same(image, unit(film))
    assert says(image, "found" if letters == ("L", "F") else "changed", "orientation")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(None, id="missing"),
        pytest.param(["L", "R"], id="opposite"),
        pytest.param(["Z", "F"], id="no such letter"),
        pytest.param(["L"], id="one direction"),
    ],
)
def test_an_orientation_that_is_not_stated_is_assumed(tmp_path, words):
    image = read(write(tmp_path / "a.dcm", PIXELS, PatientOrientation=words))
    same(image, unit(PIXELS))
    assert says(image, "assumed", "orientation")


def test_a_transposed_film_of_oblong_pixels(tmp_path):
    film = stored(thorax()[:, ::2])
    tags = {"ImagerPixelSpacing": [0.6, 0.3], "PatientOrientation": ["F", "L"]}
    image = read(write(tmp_path / "a.dcm", np.ascontiguousarray(film.T), **tags))
    assert image.shape == (1, 1200, 1000)
    assert np.abs(image.numpy()[0] - unit(PIXELS)).mean() < 0.01
