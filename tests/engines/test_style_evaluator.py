"""Translators whose effect is known, measured."""

import pytest
import torch
from torch import nn

from conventions import InputError
from drr import Acquisition
from engines import StyleEvaluator
from losses import GradientCorrelationLoss
from metrics import RandomFeatures, fid, intensity_wasserstein, kid
from transforms import StyleTransfer


class Toned(nn.Module):
    """A translator that is a formula; its parameter says where it runs."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula
        self.place = nn.Parameter(torch.zeros(()))

    def translate(self, images):
        return self.formula(images)


class Computed(list):
    """DRRs indexed by (epoch, number)."""

    def __getitem__(self, place):
        return list.__getitem__(self, place[1])


def smooth(count, seed):
    noise = torch.rand(count, 1, 72, 72, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 9, 1)


FILMS = [{"image": image, "view": view} for image in smooth(8, 0) for view in ("pa", "lateral")]
ACQUISITION = Acquisition(geometry="chest", curve="water", film_style="linear", anchor="centre")
DRRS = Computed({"image": torch.cat([image, image]) * 0.5} for image in smooth(8, 1))


class Rendered(Computed):
    """DRRs that are new in every epoch."""

    def __getitem__(self, place):
        item = super().__getitem__(place)
        return {"image": item["image"] + 0.01 * place[0]}


def record_of(direction, size):
    acquisition = ACQUISITION.replace(detector_shape=size)
    return {"method": "cyclegan", "translator": direction, "acquisition": acquisition.record()}


def evaluate(
    network=None, reverse=None, films=FILMS, views=("pa", "lateral"), radiographs=DRRS, trained_for=None, **options
):
    size = films[0]["image"].shape[-1]
    return StyleEvaluator(
        films,
        radiographs,
        ACQUISITION.replace(view_names=views, detector_shape=size),
        StyleTransfer,
        {
            "cyclegan": None if network is None else (network, record_of("real_to_drr", trained_for or size)),
            "fastcut": None,
        },
        {"cyclegan": None if reverse is None else (reverse, record_of("drr_to_real", size))},
        RandomFeatures(),
        kid,
        {"fid": fid},
        {"grey": intensity_wasserstein},
        GradientCorrelationLoss(),
        **options,
    ).run()


def rows_of(result, direction):
    return {row["method"]: row for row in result.rows if row["direction"] == direction}


def test_a_translator_that_is_right_gains_and_keeps_everything():
    result = evaluate(Toned(lambda x: x * 0.5), Toned(lambda x: x * 2))
    assert set(result) == {"pa", "lateral"}
    for of_view in result.values():
        rows = rows_of(of_view, "to_drr")
        assert list(rows) == ["same style", "none", "histogram", "cyclegan"]
        right, none = rows["cyclegan"], rows["none"]
        assert none["kid"] > 10 * abs(right["kid"])
        assert abs(right["kid"]) < 3 * rows["same style"]["kid_deviation"]
        assert none["grey"] == pytest.approx(0.25, abs=0.01)
        assert right["grey"] < 0.01
        assert right["structure"] == pytest.approx(1, abs=1e-4)
        assert right["polarity"] == pytest.approx(1, abs=1e-5)
        assert (right["cycle"], right["equivariance"]) == pytest.approx((0, 0), abs=1e-6)
        assert right["identity"] == pytest.approx(0.125, abs=0.01)  # half of what is half already
        assert "cycle" not in none
        assert list(rows_of(of_view, "to_real")) == ["same style", "none", "cyclegan"]
        assert rows_of(of_view, "to_real")["cyclegan"]["grey"] < 0.01
        assert list(of_view.pictures["to_drr"]) == ["as it is", "histogram", "cyclegan", "wanted style"]


def test_inverting_shifting_and_forgetting_are_seen():
    result = evaluate(Toned(lambda x: 1 - x))["pa"]
    row = rows_of(result, "to_drr")["cyclegan"]
    assert row["polarity"] == pytest.approx(-1, abs=1e-5)
    assert row["polarity_least"] == pytest.approx(-1, abs=1e-5)
    assert row["structure"] == pytest.approx(-1, abs=1e-4)
    ramp = torch.linspace(0, 1, 64)
    row = rows_of(evaluate(Toned(lambda x: x * ramp))["pa"], "to_drr")["cyclegan"]
    assert row["equivariance"] == pytest.approx(0.5 * 3 / 63, rel=0.05)  # three columns of the ramp, at a grey of 0.5
    row = rows_of(evaluate(Toned(lambda x: x.flip(0) * 0 + smooth(len(x), 5)))["pa"], "to_drr")["cyclegan"]
    assert abs(row["structure"]) < 0.2


def test_too_few_films_are_one_sentence():
    few = [film for film in FILMS if film["view"] == "pa"] + FILMS[1:6:2]
    with pytest.raises(InputError, match=r"3 lateral films, 4 or more .* leave this view out \(--views \"\['pa'\]\"\)"):
        evaluate(films=few)
    with pytest.raises(InputError, match=r"3 lateral films, 4 or more are needed to compare styles; give more$"):
        evaluate(films=FILMS[1:6:2], views=("lateral",))
    with pytest.raises(InputError, match=r"there are 3 CTs, 4 or more .* give more, or more folds .* \(--folds\)"):
        evaluate(radiographs=Rendered(list(DRRS)[:3]), renderings=4)
    assert set(evaluate(films=few, views=("pa",))) == {"pa"}


def test_renderings_of_a_ct_stay_together():
    with pytest.raises(InputError, match=r"the renderings of a CT are all the same; give --overlays augmented"):
        evaluate(renderings=2)
    once = rows_of(evaluate()["pa"], "to_drr")
    result = evaluate(radiographs=Rendered(DRRS), renderings=3, shown=4)["pa"]
    rows = rows_of(result, "to_drr")
    assert rows["none"]["kid"] == pytest.approx(once["none"]["kid"], rel=0.2)
    assert rows["same style"]["kid"] == pytest.approx(
        once["same style"]["kid"], abs=3 * once["same style"]["kid_deviation"]
    )
    shown = result.pictures["to_real"]["as it is"]
    expected = torch.stack([DRRS[1, n]["image"][0] + 0.01 for n in range(4)])
    torch.testing.assert_close(shown, expected)


def test_small_films_have_a_middle_too():
    films = [{**film, "image": film["image"][:, :32, :32]} for film in FILMS]
    drrs = Computed({"image": item["image"][:, :32, :32]} for item in list(DRRS))
    row = rows_of(evaluate(Toned(lambda x: x * 0.5), films=films, radiographs=drrs)["pa"], "to_drr")["cyclegan"]
    assert row["equivariance"] == pytest.approx(0, abs=1e-6)


def test_a_translator_of_another_size_is_refused():
    with pytest.raises(InputError, match="films of 128 pixels, these have 64; give --radiograph_size 128"):
        evaluate(Toned(lambda x: x), trained_for=128)


def test_a_translator_of_other_drrs_is_refused():
    network, films = Toned(lambda x: x), [film for film in FILMS if film["view"] == "pa"]
    record = record_of("real_to_drr", 64) | {"acquisition": Acquisition(geometry="x2ct", detector_shape=64).record()}
    with pytest.raises(InputError, match="the translator makes radiographs of geometry 'x2ct' instead of 'chest'"):
        StyleEvaluator(
            films, DRRS, ACQUISITION.replace(view_names=("pa",)), StyleTransfer, {"cyclegan": (network, record)}, {},
            RandomFeatures(), kid, {}, {}, GradientCorrelationLoss(),
        )  # fmt: skip
