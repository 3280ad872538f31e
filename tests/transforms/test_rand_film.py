import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, MetaTensor, decollate_batch
from monai.transforms import Compose
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from cohort import SeededDataset
from conventions import InputError, Keys
from drr import hu_to_mu, preset, project, to_film
from tests.film_phantom import GRID, phantom
from transforms import RandFilm, RandFilmd

NOTHING = dict.fromkeys(("scatter", "noise", "blur", "sharpening", "border", "marker"), 0.0)
NO_TONE = {"slope": (0.01, 0.01), "centre": (3.0, 3.0), "gamma": (1.0, 1.0), "bend": 0.0}
"""Curves that are straight to 1e-4."""


@pytest.fixture(scope="module")
def line_integrals():
    mu = hu_to_mu(torch.from_numpy(phantom(0))[None, None], "water")
    return project(mu, GRID, preset("chest", (128, 128)))[0]


@pytest.fixture
def image(line_integrals):
    return to_film(line_integrals, "linear")


def changed(image, seed=0, prob=1.0, **amounts):
    """Return films with every effect that is named, and no other but a tone curve."""
    return RandFilm(**{"plain": 0.0, "prob": prob, **NOTHING, **amounts}).set_random_state(seed)(image)


def stretched(values):
    low, high = np.percentile(values, (0.5, 99.5))
    return ((values - low) / (high - low)).clip(0, 1)


def test_without_effects_a_drr_is_only_stretched_as_films_are(image):
    film = changed(image, prob=0.0)
    for plane, drr in zip(film.numpy(), image.numpy(), strict=True):
        np.testing.assert_allclose(plane, stretched(drr), atol=1e-6)
    assert film.meta["field"].all()
    assert film.meta["field"].dtype == torch.bool
    plain = RandFilm(plain=1.0).set_random_state(0)(image)
    np.testing.assert_array_equal(plain.numpy(), image.numpy())
    assert plain.meta["field"].all()


@pytest.mark.parametrize("style", ["linear", "logistic", "transmission"])
def test_the_physics_is_that_of_the_line_integrals_in_every_film_style(line_integrals, style):
    """Scatter of one strength and width, against SciPy on the line integrals, whatever the style of the DRR."""
    p = line_integrals.clamp(max=6)
    drrs, options = to_film(p, style), {"scatter": (0.35, 0.35), "scatter_width": (0.25, 0.25), **NO_TONE}
    film = changed(drrs, film_style=style, **options)
    for plane, density in zip(film.numpy(), p.double().numpy(), strict=True):
        direct, shadow = np.exp(-density), density > 0.1
        scatter = gaussian_filter(density * direct, 32, mode="reflect", truncate=8)
        radiation = direct + 0.35 / 0.65 * direct[shadow].sum() / scatter[shadow].sum() * scatter
        np.testing.assert_allclose(plane, stretched(np.maximum(-np.log(radiation), 0)), atol=1e-3)


def test_the_random_state_alone_decides(image):
    one, again, other = (RandFilm(plain=0).set_random_state(seed)(image).numpy() for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.05
    keyed = RandFilmd("image", plain=0).set_random_state(3)({"image": image, "label": 1})
    np.testing.assert_array_equal(keyed["image"].numpy(), one)
    assert keyed["label"] == 1


def test_seed_epoch_and_case_alone_decide(image):
    data = [{"image": image, "case": f"case {i}"} for i in range(3)]

    def cases(seed):
        return SeededDataset(CacheDataset(data, Compose([RandFilmd("image", plain=0)]), progress=False), seed)

    dataset = cases(0)
    first = dataset[1, 2]["image"].numpy()
    dataset[1, 0]
    np.testing.assert_array_equal(dataset[1, 2]["image"].numpy(), first)
    np.testing.assert_array_equal(cases(0)[1, 2]["image"].numpy(), first)
    for other in (dataset[2, 2], dataset[1, 1], cases(1)[1, 2]):
        assert np.abs(other["image"].numpy() - first).max() > 0.01


def test_everything_stays_in_range_and_nothing_is_mirrored(image):
    transform = RandFilm(plain=0).set_random_state(1)
    for _ in range(20):
        film = transform(image)
        field, film = film.meta["field"].numpy(), film.numpy()
        assert film.min() >= 0
        assert film.max() <= 1
        assert film.dtype == np.float32
        inner = field & (image.numpy() > 0.05)
        for plane, drr, there in zip(film, image.numpy(), inner, strict=True):
            alike = spearmanr(plane[there], drr[there]).statistic
            assert alike > 0.3  # wide scatter brightens the middle
            both = there & there[:, ::-1]
            if both.sum() > 2000:
                assert alike > spearmanr(plane[:, ::-1][both], drr[both]).statistic


def test_a_share_of_the_patients_stays_plain(image):
    transform = RandFilm(plain=0.25).set_random_state(0)
    plain = [np.array_equal(transform(image[:, ::4, ::4]).numpy(), image[:, ::4, ::4]) for _ in range(400)]
    assert np.mean(plain) == pytest.approx(0.25, abs=0.07)


def test_the_views_are_drawn_for_by_themselves(image):
    film = changed(torch.stack([image[0], image[0]]), gamma=(0.7, 1.5), seed=1)
    assert np.abs(film[0] - film[1]).max() > 0.01


@pytest.mark.parametrize("seed", range(6))
def test_tone_curves_keep_the_order(seed):
    """A curve rises strictly wherever it is not clipped by the stretch."""
    ramp = torch.linspace(0, 0.99, 128 * 64).reshape(1, 128, 64)
    film = changed(ramp, seed).numpy().ravel().astype(np.float64)
    assert (np.diff(film) >= 0).all()
    inner = film[100:-100]
    assert (np.diff(inner[::64]) > 0).all()
    assert (film[0], film[-1]) == (0, 1)


def test_the_curves_are_the_ones_that_are_named():
    """A free curve that is not bent is straight."""
    ramp = torch.linspace(0, 0.99, 4096).reshape(1, 64, 64)
    p = 8 * ramp[0].double().numpy()
    expected = {"logistic": 1 / (1 + np.exp(-0.7 * (p - 2.5))), "gamma": p**1.4, "free": p}
    met = set()
    for seed in range(12):
        film = changed(ramp, seed, slope=(0.7, 0.7), centre=(2.5, 2.5), gamma=(1.4, 1.4), bend=0.0).numpy()[0]
        near = {name: np.abs(film - stretched(curve)).max() for name, curve in expected.items()}
        met.add(min(near, key=near.get))
        assert min(near.values()) < 1e-5
    assert met == set(expected)


def test_the_logarithm_of_a_free_curves_slope_is_a_cubic():
    ramp = torch.linspace(0, 0.99, 2048).reshape(1, 32, 64)
    bent = 0
    for seed in range(12):
        options = {"slope": (0.01, 0.01), "gamma": (1.0, 1.0), "bend": (0.8, 0.8)}
        film = changed(ramp, seed, **options).numpy().ravel().astype(np.float64)
        inner = film[32:-32].reshape(-1, 32).mean(1)
        log_slope, place = np.log(np.diff(inner)), np.linspace(-1, 1, len(inner) - 1)
        cubic = np.polynomial.Polynomial.fit(place, log_slope, 3)
        assert np.abs(cubic(place) - log_slope).max() < 0.03
        bent += np.ptp(log_slope) > 0.5
    assert bent >= 2


def test_noise_is_that_of_the_photons_that_arrive():
    """1 / sqrt(I0 e^-p) in the line integral, so seven times as much at p = 5 as at p = 1.1."""
    p = torch.full((1, 256, 256), 1.1)
    p[:, 128:] = 5.0
    film = changed(p / 8, noise=(0.01, 0.01), **NO_TONE).numpy()[0]
    lung, spine = (film[rows][:, 20:-20] for rows in (np.s_[10:118], np.s_[138:246]))
    scale = (np.median(spine) - np.median(lung)) / 3.9
    assert lung.std() / scale == pytest.approx(0.01 * np.exp(0.55), rel=0.05)
    assert 0.01 * np.exp(2.5) * 0.85 < spine.std() / scale < 0.01 * np.exp(2.5) * 1.02  # its bright tail is clipped


def test_the_field_is_what_the_black_leaves(image):
    dense = (0.2 + 0.7 * image).clamp(max=0.99)
    black, rectangles = [], 0
    for seed in range(12):
        film = changed(dense, seed, border=0.25)
        field = film.meta["field"].numpy()
        assert not film.numpy()[~field].any()
        for shown, drr, plane in zip(field, dense.numpy(), film.numpy(), strict=True):
            rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
            box = np.zeros_like(shown)
            box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
            np.testing.assert_array_equal(shown, box)
            assert drr[shown].sum() >= 0.5 * drr.sum()
            assert plane[shown].mean() > 0.1
            rectangles += not shown.all()
            black.append(1 - shown.mean())
    assert rectangles > 12
    assert 0.05 < np.mean(black) < 0.4


def test_tones_are_stretched_inside_the_field_alone(image):
    for seed in range(6):
        film = changed(image, seed, border=0.3, **NO_TONE)
        for plane, shown, drr in zip(film.numpy(), film.meta["field"].numpy(), image.numpy(), strict=True):
            np.testing.assert_allclose(plane[shown], stretched(drr[shown]), atol=0.01)


def test_markers_are_white_and_not_measured(image):
    for seed in range(6):
        film = changed(image, seed, border=0.2, marker=(0.08, 0.08), **NO_TONE)
        bare = changed(image, seed, border=0.2, **NO_TONE)
        for plane, field, whole in zip(
            film.numpy(), film.meta["field"].numpy(), bare.meta["field"].numpy(), strict=True
        ):
            marked = whole & ~field
            assert 5 <= marked.sum() <= 15 * 9
            assert (plane[marked] == 1).all()
            rows, columns = np.nonzero(marked)
            assert np.ptp(rows) < 15
            assert np.ptp(columns) < 9
        same = film.meta["field"].numpy()
        np.testing.assert_array_equal(film.numpy()[same], bare.numpy()[same])


def test_a_field_that_is_there_shrinks(image):
    field = torch.ones(2, 128, 128, dtype=torch.bool)
    field[:, :40] = False
    item = RandFilmd("image", plain=0, border=0.25).set_random_state(2)({"image": image, "field": field})
    assert not item["field"][:, :40].any()
    assert item["field"][:, 60:70, 60:70].all()
    with pytest.raises(InputError, match="exactly one key"):
        RandFilmd(("image", "other_image"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_field_survives_loading(image, num_workers):
    data = [{"image": image.clone(), "case": f"case {i}"} for i in range(4)]
    dataset = SeededDataset(CacheDataset(data, Compose([RandFilmd("image", plain=0)]), progress=False), 0)
    loader = DataLoader(_Epoch(dataset), batch_size=2, num_workers=num_workers)
    for number, batch in enumerate(loader):
        assert batch[Keys.FIELD].shape == (2, 2, 128, 128)
        assert batch[Keys.FIELD].dtype == torch.bool
        assert "field" not in batch["image"].meta
        for i, item in enumerate(decollate_batch(batch)):
            expected = dataset[0, 2 * number + i]
            np.testing.assert_array_equal(item[Keys.FIELD].numpy(), expected[Keys.FIELD].numpy())


class _Epoch(torch.utils.data.Dataset):
    """First epoch of a seeded dataset."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return self.dataset[0, index]


def test_the_meta_goes_along(image):
    film = RandFilm().set_random_state(0)(MetaTensor(image, meta={"spatial_shape": (1, 2, 3)}))
    assert film.meta["spatial_shape"] == (1, 2, 3)


def test_an_empty_radiograph_stays_black():
    film = changed(torch.zeros(1, 64, 64), border=0.25, scatter=0.5)
    assert film.numpy().max() < 0.01


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prob": 2}, r"prob must lie in \[0, 1\], got 2"),
        ({"plain": -0.1}, r"plain must lie in \[0, 1\]"),
        ({"noise": -1}, "noise must be a number or a range"),
        ({"slope": (2.0, 1.0)}, "slope must be a number or a range"),
        ({"scatter": 1.5}, "scatter must be .* at most 1"),
        ({"border": 0.5}, "border must be .* at most 0.45"),
        ({"film_style": "x2ct"}, "'x2ct' divides each film by its own maximum.*; give chest.json"),
    ],
)
def test_amounts_that_make_no_sense_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        RandFilm(**options)
