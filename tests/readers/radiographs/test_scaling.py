import numpy as np
import pytest

from tests.readers.radiographs.film_files import picture, read, same, says, stored, thorax, unit

THORAX = thorax((700, 600))
EIGHT = stored(THORAX, 8).astype(np.uint8)


@pytest.mark.parametrize("shade", [pytest.param(0, id="black"), pytest.param(255, id="white")])
@pytest.mark.parametrize("blurred", [pytest.param(False, id="sharp"), pytest.param(True, id="blurred")])
def test_a_frame_is_cut_off(tmp_path, shade, blurred):
    film = stored(THORAX, 8, 0.2, 0.75).astype(np.uint8)
    framed = np.full((760, 680), shade, np.uint8)
    framed[20:720, 50:650] = film
    if blurred:
        framed[20, 50:650] = (framed[20, 50:650].astype(int) + shade) // 2
    image = read(picture(tmp_path / "a.png", framed))
    assert abs(image.shape[1] - 700) <= 1
    assert image.shape[2] == 600
    same(image, unit(framed[20 + 700 - image.shape[1] : 720, 50:650]))
    assert says(image, "changed", "crop", "from 760 x 680")


def test_a_white_frame_around_a_black_one(tmp_path):
    framed = np.full((800, 700), 255, np.uint8)
    framed[20:780, 20:680] = 0
    framed[50:750, 50:650] = stored(THORAX, 8, 0.2, 0.75)
    same(read(picture(tmp_path / "a.png", framed)), unit(framed[50:750, 50:650]))


def test_air_and_dense_edges_are_no_frame(tmp_path):
    same(read(picture(tmp_path / "a.png", EIGHT)), unit(EIGHT))
    dense = EIGHT.copy()
    dense[600:] = np.maximum(dense[600:], np.linspace(100, 255, 100)[:, None].astype(np.uint8))
    same(read(picture(tmp_path / "b.png", dense)), unit(dense))


def test_no_more_than_40_percent_is_cut_off(tmp_path):
    framed = np.full((1200, 1100), 255, np.uint8)
    framed[250:950, 250:850] = stored(THORAX, 8, 0.2, 0.75)
    image = read(picture(tmp_path / "a.png", framed))
    assert image.shape == (1, 1200, 1100)
    assert says(image, "doubt", "crop", "was not cut off")
    expected = np.zeros((1200, 1100), bool)
    expected[250:950, 250:850] = True
    assert (image.meta["valid"] != expected).mean() < 2e-3


def test_without_a_frame_all_of_a_film_is_valid(tmp_path):
    assert read(picture(tmp_path / "a.png", EIGHT)).meta["valid"] is None
