import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from conventions import View
from readers import assess_film
from readers.radiographs.thorax_search import MIN_OVERLAP, correlation_map
from tests.film_phantom import DETECTOR_MM, PIXELS, films, shadow_box

SEEDS = (0, 1, 2)
PITCH_MM = DETECTOR_MM / PIXELS / 1.1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", [0, 1])
def test_the_lungs_are_found_where_they_are(seed, number):
    box = assess_film(films(seed)[number], list(View)[number]).box
    error = PITCH_MM * (np.array([box.top, box.bottom, box.left, box.right]) - shadow_box(seed, number))
    assert abs(error).max() < 25, error
    assert np.median(abs(error)) < 10, error
    assert box.score > 0.7


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("number", [0, 1])
def test_view_direction_and_polarity_are_recognised(seed, number):
    film, view = films(seed)[number], list(View)[number]
    assessment = assess_film(film, view)
    assert assessment.view_margin > 0
    assert assess_film(film, list(View)[1 - number]).view_margin < 0
    assert assessment.mirror_margin > 0
    assert assess_film(film[:, ::-1], view).mirror_margin < 0
    assert assessment.polarity > 0
    assert assess_film(1 - film, view).polarity < 0


def test_an_inverted_film_has_its_lungs_in_the_same_place():
    film = films(0)[0]
    one, other = (assess_film(pixels, View.PA).box for pixels in (film, 1 - film))
    assert (one.top, one.bottom, one.left, one.right) == pytest.approx(
        (other.top, other.bottom, other.left, other.right), abs=8
    )


def test_no_tone_curve_moves_the_lungs():
    film = films(1)[0]
    assert assess_film(film, View.PA).box.centre == pytest.approx(assess_film(film**3, View.PA).box.centre, abs=2)


def test_the_size_of_the_film_in_pixels_does_not_matter():
    film = films(0)[0]
    one, other = assess_film(film, View.PA).box, assess_film(film.repeat(2, 0).repeat(2, 1), View.PA).box
    assert other.centre == pytest.approx([2 * c for c in one.centre], abs=4)
    assert one.scaled(2).height == pytest.approx(other.height, abs=4)


def test_noise_and_texture_are_no_chest():
    noise = np.random.default_rng(0).random((300, 300)).astype(np.float32)
    for image in (noise, gaussian_filter(noise, 3)):
        assert max(assess_film(image, view).box.score for view in View) < 0.4


def test_a_template_is_correlated_over_what_lies_on_the_film():
    rng = np.random.default_rng(0)
    film, template = rng.random((14, 17)).astype(np.float32), rng.random((9, 6)).astype(np.float32)
    scores, enough = correlation_map(film, 3, template)
    assert scores.shape == (14 + 6 - 9 + 1, 17 + 6 - 6 + 1)
    for i, j in np.ndindex(scores.shape):
        rows, columns = np.mgrid[i - 3 : i + 6, j - 3 : j + 3]
        on_film = (rows >= 0) & (rows < 14) & (columns >= 0) & (columns < 17)
        expected = np.corrcoef(film[rows[on_film], columns[on_film]], template[on_film])[0, 1]
        assert scores[i, j] == pytest.approx(expected, abs=1e-4)
        assert enough[i, j] == (on_film.mean() >= MIN_OVERLAP)
