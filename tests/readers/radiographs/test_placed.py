import json

import numpy as np
import pytest
import torch
from monai.data import DataLoader, decollate_batch

from conventions import View
from readers import DecisionRecord, LungBox, PlacedFilm, pack_films, unpack_films
from readers.radiographs.placed import PICTURE_SIZE


def placed(view, shape, lungs=None):
    record = DecisionRecord("Quetzal.png")
    record.found("polarity", "bright is dense")
    record.doubt("view", "looks odd", 0.75)
    picture = np.random.default_rng(0).random(shape).astype(np.float32)
    return PlacedFilm(view, picture, lungs, (-3.0, 250.0, 4.5, 260.0), record)


PAIR = [placed(View.PA, (240, 200), LungBox(30, 200, 20, 180, 0.8)), placed(View.LATERAL, (260, 310))]


def assert_alike(films, expected):
    for film, one in zip(films, expected, strict=True):
        assert (film.view, film.lungs, film.frame) == (one.view, one.lungs, one.frame)
        assert film.record.to_list() == one.record.to_list()
        np.testing.assert_allclose(film.picture, one.picture, atol=0.5 / 255 + 1e-6)


def test_films_come_back_as_they_were_packed():
    item = pack_films(PAIR)
    assert_alike(unpack_films(item), PAIR)
    assert "Quetzal" not in item["films"]
    assert item["film_pictures"].dtype == torch.uint8


def test_a_later_doubt_is_logged_with_the_view(caplog):
    _, lateral = unpack_films(pack_films(PAIR))
    lateral.record.doubt("agreement", "differs")
    assert caplog.messages[-1] == "lateral: agreement: differs"


def test_packing_what_was_unpacked_changes_nothing():
    once = pack_films(PAIR)
    again = pack_films(unpack_films(once))
    assert json.loads(again["films"]) == json.loads(once["films"])
    assert torch.equal(again["film_pictures"], once["film_pictures"])


def test_a_large_film_is_made_smaller_with_its_box_and_frame():
    large = placed(View.PA, (2 * PICTURE_SIZE, PICTURE_SIZE), LungBox(100, 300, 200, 500, 0.7))
    (film,) = unpack_films(pack_films([large]))
    assert film.picture.shape == (PICTURE_SIZE, PICTURE_SIZE // 2)
    assert film.lungs == LungBox(50, 150, 100, 250, 0.7)
    assert film.frame == pytest.approx([edge / 2 for edge in large.frame])
    pairs = large.picture.reshape(PICTURE_SIZE, 2, PICTURE_SIZE // 2, 2).mean((1, 3))
    assert np.corrcoef(film.picture.ravel(), pairs.ravel())[0, 1] > 0.9


def test_a_batch_gives_back_the_films_of_each_case():
    others = [placed(View.PA, (50, 60)), placed(View.LATERAL, (70, 40), LungBox(1, 2, 3, 4, 0.5))]
    (batch,) = DataLoader([pack_films(PAIR), pack_films(others)], batch_size=2)
    for item, expected in zip(decollate_batch(batch), (PAIR, others), strict=True):
        assert_alike(unpack_films(item), expected)


def test_an_item_without_films_has_none():
    assert unpack_films({"image": torch.zeros(2, 4, 4)}) == []
