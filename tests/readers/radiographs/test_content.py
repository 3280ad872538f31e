import numpy as np
import pytest

from conventions import InputError, View
from readers import DecisionRecord, check_content
from tests.film_phantom import films


def doubts(pixels, view, record=None):
    record = record or DecisionRecord("film.png")
    check_content(pixels, view, record)
    return {doubt.subject: doubt for doubt in record.doubts}


@pytest.mark.parametrize("number", [0, 1])
def test_a_good_film_is_not_doubted(number):
    assert not doubts(films(0)[number], list(View)[number])


def test_an_inverted_film_is_doubted():
    doubt = doubts(1 - films(0)[0], View.PA)["polarity"]
    assert "set invert" in doubt.text
    assert 0 < doubt.confidence <= 1


@pytest.mark.parametrize("number", [0, 1])
def test_a_film_of_the_other_view_is_doubted(number):
    given, shown = list(View)[1 - number], list(View)[number]
    doubt = doubts(films(0)[number], given)["view"]
    assert doubt.text == f"given as {given}, but looks like a {shown}"


def test_a_lateral_is_turned_with_its_front_to_the_left():
    straight = films(0)[1]
    record = DecisionRecord("film.png")
    turned, assessment = check_content(straight[:, ::-1].copy(), View.LATERAL, record)
    np.testing.assert_array_equal(turned, straight)
    assert [d.subject for d in record.decisions if d.kind == "changed"] == ["orientation"]
    assert assessment.box.centre[1] == pytest.approx(
        check_content(straight, View.LATERAL, DecisionRecord())[1].box.centre[1], abs=4
    )


def test_a_lateral_whose_file_states_its_direction_is_only_doubted():
    record = DecisionRecord("film.dcm")
    record.found("orientation", "the front is at the left")
    mirrored = films(0)[1][:, ::-1].copy()
    kept, _ = check_content(mirrored, View.LATERAL, record)
    np.testing.assert_array_equal(kept, mirrored)
    assert [doubt.subject for doubt in record.doubts] == ["orientation"]


def test_a_heart_on_the_right_is_doubted():
    margins = [doubts(films(seed)[0][:, ::-1].copy(), View.PA) for seed in range(6)]
    assert sum("orientation" in found for found in margins) <= 6
    assert not any("orientation" in doubts(films(seed)[0], View.PA) for seed in range(6))


def test_two_films_side_by_side_are_refused():
    with pytest.raises(InputError, match="two films seem to lie side by side"):
        check_content(np.concatenate([films(0)[0], films(0)[1]], axis=1), View.PA, DecisionRecord("both.png"))


@pytest.mark.parametrize("view", list(View))
def test_what_shows_no_chest_is_refused(view):
    noise = np.random.default_rng(1).random((256, 256)).astype(np.float32)
    with pytest.raises(InputError, match=r"noise\.png: no chest can be recognised"):
        check_content(noise, view, DecisionRecord("noise.png"))
