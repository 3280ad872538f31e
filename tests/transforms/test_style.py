import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import gaussian_filter
from skimage.exposure import match_histograms

from conventions import InputError, View
from drr import Acquisition
from readers import DecisionRecord, PlacedFilm, lung_place, tone_quantiles
from transforms import StyleTransfer, StyleTransferd

RECIPE = ("chest", "water", "linear")
CHEST = Acquisition(geometry="chest", curve="water", film_style="linear", detector_shape=(64, 64), anchor="centre")


def around_the_lungs(view):
    """Rows and columns of a 64 x 64 radiograph, by the preset's numbers."""
    edges = np.array(lung_place("chest", "centre", view)).reshape(2, 2)
    pixel = 430 / 64 / (1800 / (1650 if view is View.PA else 1600))
    margins = 0.1 * np.diff(edges)
    (top, bottom), (left, right) = np.rint(32 + (edges + margins * [-1, 1]) / pixel).astype(int)
    return np.s_[top:bottom, left:right]


@pytest.fixture
def film():
    image = np.random.default_rng(0).random((2, 64, 64)).astype(np.float32) ** 2
    image[:, :4] = 0
    return image


def test_none_gives_back_what_it_was_given(film):
    image = MetaTensor(film)
    assert StyleTransfer(acquisition=CHEST)(image) is image


def test_the_tones_become_those_of_the_reference(film):
    matched = StyleTransfer("histogram", CHEST)(torch.from_numpy(film)).numpy()
    for plane, view in zip(matched, View, strict=True):
        wanted = tone_quantiles(*RECIPE, view)
        spread = np.quantile(plane[around_the_lungs(view)], np.linspace(0, 1, 101))
        np.testing.assert_allclose(spread[6:-1], wanted[6:-1], atol=0.01)
    assert not matched[:, :4].any()


def test_it_is_what_another_library_does(film):
    """skimage matches to an image; one whose quantiles are the reference's is made for it."""
    wanted = tone_quantiles(*RECIPE, View.PA)
    there = around_the_lungs(View.PA)
    bank = np.interp(np.linspace(0, 1, 10_000), np.linspace(0, 1, 101), wanted).reshape(100, 100)
    expected = match_histograms(film[0][there], bank)
    matched = StyleTransfer("histogram", CHEST)(torch.from_numpy(film)).numpy()[0][there]
    inner = (matched > wanted[6]) & (matched < wanted[98])
    assert inner.mean() > 0.9
    np.testing.assert_allclose(matched[inner], expected[inner], atol=5e-3)


@pytest.mark.parametrize("change", [lambda image: image**3, lambda image: 0.1 + 0.5 * image, np.sqrt])
def test_no_rising_tone_curve_changes_the_result(film, change):
    transfer = StyleTransfer("histogram", CHEST)
    other = np.where(film > 0, change(film), 0).astype(np.float32)
    one, two = (transfer(torch.from_numpy(image)).numpy() for image in (film, other))
    inner = (one > 0.4) & (one < 0.65)  # between the quantiles that are matched
    assert inner.mean() > 0.3
    np.testing.assert_allclose(two[inner], one[inner], atol=5e-3)


def test_the_meta_goes_along_and_views_may_be_one(film):
    image = MetaTensor(film[:1], meta={"spatial_shape": (4, 4, 4)})
    out = StyleTransferd("image", "histogram", CHEST.replace(view_names=("pa",)))({"image": image})["image"]
    assert out.meta["spatial_shape"] == (4, 4, 4)
    assert out.shape == (1, 64, 64)


def test_what_cannot_be_done_is_said():
    with pytest.raises(InputError, match="unknown style transfer 'cubist': choose one of none, histogram, cyclegan"):
        StyleTransfer("cubist")
    with pytest.raises(InputError, match="constant"):
        StyleTransfer("histogram", CHEST)(torch.full((2, 8, 8), 0.3))
    with pytest.raises(InputError, match=r"1 radiograph\(s\)"):
        StyleTransfer("histogram", CHEST)(torch.rand(1, 8, 8))


class Halving(torch.nn.Module):
    """A translator that halves every value and remembers the shape of what it was shown."""

    def __init__(self):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(0.5))

    def translate(self, film):
        self.shape = tuple(film.shape)
        return self.share * film


def translator_record(acquisition=CHEST, **entries):
    return {"method": "cyclegan", "translator": "real_to_drr", "acquisition": acquisition.record(), **entries}


def of_size(size):
    return translator_record(CHEST.replace(detector_shape=(size, size)))


@pytest.mark.parametrize("size", [64, 128])
def test_a_network_translates_each_view_and_the_record_says_so(film, size):
    placed = PlacedFilm(View.PA, film[0], None, (0, 64, 0, 64), DecisionRecord("a.png"))
    image = MetaTensor(film, meta={"films": [placed]})
    network = Halving()
    out = StyleTransfer("cyclegan", CHEST, network, of_size(size))(image)
    smooth = gaussian_filter(film, (0, 3, 3)) if size == 128 else film
    wanted = smooth[:, 20:40, 20:40] / 2
    shown = gaussian_filter(out.numpy(), (0, 3, 3)) if size == 128 else out.numpy()
    np.testing.assert_allclose(shown[:, 20:40, 20:40], wanted, atol=0.01)
    assert network.shape == (2, 1, size, size)
    assert out.shape == film.shape
    assert out.meta["films"] is image.meta["films"]
    assert [decision.kind for decision in placed.record.decisions] == ["changed", "doubt"]
    assert "can add findings and take them away" in placed.record.doubts[0].text


def test_a_network_without_a_record_is_shown_films_as_they_are(film):
    network = Halving()
    StyleTransfer("cyclegan", CHEST, network)(torch.from_numpy(film))
    assert network.shape == (2, 1, 64, 64)


def test_the_result_may_be_smaller_than_what_the_translator_reads(film):
    network = Halving()
    out = StyleTransfer("cyclegan", CHEST, network, of_size(64), size=32)(torch.from_numpy(film))
    assert network.shape == (2, 1, 64, 64)
    assert out.shape == (2, 32, 32)
    smaller = StyleTransfer("none", CHEST, size=32)(torch.from_numpy(film))
    torch.testing.assert_close(out, smaller / 2)
    np.testing.assert_allclose(smaller.mean(), film.mean(), rtol=0.01)
    assert StyleTransfer("histogram", CHEST, size=32)(MetaTensor(film)).shape == (2, 32, 32)


@pytest.mark.parametrize("method", ["none", "histogram", "cyclegan"])
def test_the_field_of_a_film_keeps_to_the_film(film, method):
    field = torch.zeros(2, 64, 64, dtype=torch.bool)
    field[0, 10:51, 7:60] = True
    field[1] = True
    network = Halving() if method == "cyclegan" else None
    item = StyleTransferd("image", method, CHEST, network)({"image": MetaTensor(film), "field": field})
    assert torch.equal(item["field"], field)
    small = StyleTransferd("image", method, CHEST, network, size=32)({"image": MetaTensor(film), "field": field})
    assert small["image"].shape == small["field"].shape == (2, 32, 32)
    assert small["field"][1].all()
    assert small["field"][0, 6:24, 5:29].all()
    assert not small["field"][0, 25:].any()  # rows 50 and 51, of which the second is outside
    assert not small["field"][0, :, :4].any()
    alone = StyleTransfer(method, CHEST, network, size=32)(MetaTensor(film, meta={"field": field}))
    assert torch.equal(alone.meta["field"], small["field"])


def test_a_learned_method_needs_its_network():
    with pytest.raises(InputError, match="style transfer 'fastcut' needs a translator; give --style_checkpoint"):
        StyleTransfer("fastcut", CHEST)


def test_a_network_that_translates_nothing_is_refused():
    with pytest.raises(InputError, match=r"Linear is no translator of films; give the real_to_drr\.pt of a cyclegan"):
        StyleTransfer("cyclegan", CHEST, torch.nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("method", "entries", "words"),
    [
        pytest.param(
            "cyclegan",
            {"translator": "drr_to_real"},
            "is drr_to_real of cyclegan, but real_to_drr of cyclegan is needed",
            id="the other direction",
        ),
        pytest.param(
            "fastcut", {}, "is real_to_drr of cyclegan, but real_to_drr of fastcut is needed", id="another method"
        ),
    ],
)
def test_a_translator_of_another_kind_is_refused(method, entries, words):
    with pytest.raises(InputError, match=words):
        StyleTransfer(method, CHEST, Halving(), translator_record(**entries))


def test_a_translator_for_another_acquisition_is_refused():
    paper = translator_record(Acquisition(detector_shape=(64, 64)))
    StyleTransfer("cyclegan", Acquisition(), Halving(), paper)
    with pytest.raises(InputError, match="makes radiographs of geometry 'x2ct' instead of 'chest'"):
        StyleTransfer("cyclegan", CHEST, Halving(), paper)
