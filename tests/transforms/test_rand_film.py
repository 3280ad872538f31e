import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from cohort import SeededDataset
from conventions import InputError
from tests.film_phantom import films
from transforms import RandFilm, RandFilmd

NOTHING = dict.fromkeys(("haze", "blur", "noise", "tone", "sharpening", "border", "marker"), 0.0)


@pytest.fixture
def image():
    return torch.from_numpy(films(0)[:, ::4, ::4].copy())


def changed(image, seed=0, **amounts):
    return RandFilm(prob=1.0, **{**NOTHING, **amounts}).set_random_state(seed)(image).numpy()


def test_amounts_of_zero_change_nothing(image):
    np.testing.assert_array_equal(changed(image), image.numpy())
    np.testing.assert_array_equal(RandFilm(prob=0.0).set_random_state(0)(image).numpy(), image.numpy())


def test_the_random_state_alone_decides(image):
    one, again, other = (RandFilm().set_random_state(seed)(image).numpy() for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.05
    keyed = RandFilmd("image").set_random_state(3)({"image": image, "label": 1})
    np.testing.assert_array_equal(keyed["image"].numpy(), one)
    assert keyed["label"] == 1


def test_seed_epoch_and_case_alone_decide(image):
    data = [{"image": image, "case": f"case {i}"} for i in range(3)]

    def cases(seed):
        return SeededDataset(CacheDataset(data, Compose([RandFilmd("image")]), progress=False), seed)

    dataset = cases(0)
    first = dataset[1, 2]["image"].numpy()
    dataset[1, 0]
    np.testing.assert_array_equal(dataset[1, 2]["image"].numpy(), first)
    np.testing.assert_array_equal(cases(0)[1, 2]["image"].numpy(), first)
    for other in (dataset[2, 2], dataset[1, 1], cases(1)[1, 2]):
        assert np.abs(other["image"].numpy() - first).max() > 0.01


def test_everything_stays_in_range_and_nothing_is_mirrored(image):
    transform = RandFilm().set_random_state(1)
    for _ in range(20):
        film = transform(image).numpy()
        assert film.min() >= 0
        assert film.max() <= 1
        assert film.dtype == np.float32
        inner = np.s_[:, 20:80, 20:80]
        alike = np.corrcoef(film[inner].ravel(), image.numpy()[inner].ravel())[0, 1]
        assert alike > 0.8
        assert alike > np.corrcoef(film[:, :, ::-1][inner].ravel(), image.numpy()[inner].ravel())[0, 1]


def test_the_views_are_drawn_for_by_themselves(image):
    same = torch.stack([image[0], image[0]])
    film = changed(same, tone=0.6)
    assert np.abs(film[0] - film[1]).max() > 0.01


@pytest.mark.parametrize("seed", range(4))
def test_a_tone_curve_keeps_the_order(image, seed):
    film = changed(image, seed, tone=0.9)
    assert spearmanr(film[0].ravel(), image[0].numpy().ravel()).statistic == pytest.approx(1, abs=1e-6)
    assert film.min() == pytest.approx(float(image.min()) ** np.exp(0), abs=0.2)


def test_haze_is_a_wide_gaussian_mixed_in(image):
    film = changed(image, haze=0.3)
    plain = image[0].numpy()
    wide = gaussian_filter(plain, 0.15 * plain.shape[0])
    share = ((film[0] - plain) * (wide - plain)).sum() / ((wide - plain) ** 2).sum()
    assert 0 < share < 0.3
    np.testing.assert_allclose(film[0], (1 - share) * plain + share * wide, atol=1e-5)


def test_noise_has_the_amount_that_was_drawn_and_none_in_air():
    flat = torch.full((1, 200, 200), 0.5)
    flat[:, :, :100] = 0
    film = changed(flat, noise=0.05)
    assert film[:, :, :90].std() == 0
    assert 0 < film[:, :, 110:].std() < 0.05
    assert film[:, :, 110:].mean() == pytest.approx(0.5, abs=0.01)


def test_borders_are_dark_and_markers_bright_and_neither_reaches_the_middle(image):
    middle = np.s_[:, 25:75, 25:75]
    for amounts, sign in (({"border": 0.1}, -1), ({"marker": 0.08}, 1)):
        difference = changed(image, 2, **amounts) - image.numpy()
        assert ((sign * difference).max(axis=(1, 2)) > 0.03).all()  # in the PA and in the lateral
        assert (sign * difference).min() >= 0
        assert not difference[middle].any()


def test_the_meta_goes_along(image):
    film = RandFilm().set_random_state(0)(MetaTensor(image, meta={"spatial_shape": (1, 2, 3)}))
    assert film.meta["spatial_shape"] == (1, 2, 3)


def test_amounts_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match=r"prob must lie in \[0, 1\]"):
        RandFilm(prob=2)
    with pytest.raises(InputError, match="noise must not be negative"):
        RandFilm(noise=-1)
