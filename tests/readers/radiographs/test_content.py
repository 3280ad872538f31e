import numpy as np
import pytest

from conventions import InputError, View
from readers import DecisionRecord, check_content
from tests.film_phantom import films
from transforms import ReadRadiograph


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


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("number", [0, 1])
def test_a_film_upside_down_is_doubted_as_that_alone(seed, number):
    found = doubts(np.rot90(films(seed)[number], 2), list(View)[number])
    assert found["orientation"].text == "the film seems to be upside down; turn it so that the head is up"
    assert 0.4 < found["orientation"].confidence <= 1
    assert set(found) <= {"orientation", "lungs"}


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(("quarters", "side"), [(1, "left"), (3, "right")])
def test_a_film_on_its_side_is_refused(number, quarters, side, inverted):
    film = films(0)[number]
    turned = np.rot90(1 - film if inverted else film, quarters)
    with pytest.raises(InputError, match=rf"film\.png: seems to lie on its side, the head to the {side}; turn it"):
        doubts(turned, list(View)[number])


def test_a_mirrored_film_on_its_side_is_refused():
    """As if rows and columns of a file were exchanged."""
    with pytest.raises(InputError, match="seems to lie on its side"):
        doubts(films(0)[0].T.copy(), View.PA)


def behind_a_round_shutter(film):
    rows, columns = np.mgrid[0 : film.shape[0], 0 : film.shape[1]] - film.shape[0] / 2
    return np.where(np.hypot(rows, columns) < 0.42 * film.shape[0], film, 0)


def behind_an_angled_shutter(film):
    rows, columns = np.mgrid[0 : film.shape[0], 0 : film.shape[1]] / film.shape[0] - 0.5
    along, across = (np.cos(0.35) * a + np.sin(0.35) * b for a, b in ((rows, columns), (columns, -rows)))
    return np.where((abs(along) < 0.45) & (abs(across) < 0.42), film, 0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(np.asarray, id="as it is"),
        pytest.param(lambda film: 1 - film, id="inverted"),
        pytest.param(lambda film: film[:, ::-1].copy(), id="mirrored"),
        pytest.param(behind_a_round_shutter, id="round shutter"),
        pytest.param(behind_an_angled_shutter, id="angled shutter"),
        pytest.param(lambda film: np.pad(film, 90), id="black all round"),
        pytest.param(lambda film: np.pad(film, ((0, 0), (90, 90))), id="black at the sides"),
        pytest.param(lambda film: np.pad(film, ((90, 90), (0, 0))), id="black above and below"),
        pytest.param(lambda film: film[60:], id="without its top"),
        pytest.param(lambda film: film[:320], id="without its bottom"),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_an_upright_film_is_not_called_turned(number, change):
    view = list(View)[number]
    assert not any("turn it" in doubt.text for doubt in doubts(change(films(1)[number]), view).values())


@pytest.mark.parametrize("number", [0, 1])
def test_a_film_of_the_other_view_is_not_called_turned(number):
    found = doubts(films(1)[number], list(View)[1 - number])
    assert not any("turn it" in doubt.text for doubt in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("view", list(View))
def test_turned_real_films_are_noticed_and_upright_ones_are_not_called_turned(real_data, view):
    """Of seven frontal and six lateral films two at most are missed at each turn."""
    folder = real_data / ("xray/frontal" if view is View.PA else "restricted/xray/lateral")
    files = sorted(folder.glob("*.png"))[:: 50 if view is View.PA else 5]
    assert len(files) > 5
    seen = {0: 0, 1: 0, 2: 0, 3: 0}
    for file in files:
        pixels = ReadRadiograph(view)(file).numpy()[0]
        for quarters in seen:
            record = DecisionRecord(str(file))
            try:
                check_content(np.rot90(pixels, quarters), view, record)
                said = [doubt.text for doubt in record.doubts]
            except InputError as error:
                said = [str(error)]
            seen[quarters] += any("turn it" in text for text in said)
    assert seen[0] == 0
    assert min(seen[1], seen[2], seen[3]) >= len(files) - 2


def test_two_films_side_by_side_are_refused():
    with pytest.raises(InputError, match="two films seem to lie side by side"):
        check_content(np.concatenate([films(0)[0], films(0)[1]], axis=1), View.PA, DecisionRecord("both.png"))


@pytest.mark.parametrize("view", list(View))
def test_what_shows_no_chest_is_refused(view):
    noise = np.random.default_rng(1).random((256, 256)).astype(np.float32)
    with pytest.raises(InputError, match=r"noise\.png: no chest can be recognised"):
        check_content(noise, view, DecisionRecord("noise.png"))
