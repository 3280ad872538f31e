import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from conventions import InputError
from drr import add_scatter, from_film, to_film


def test_linear_keeps_absolute_attenuation():
    p = torch.tensor([[0.0, 4.0], [8.0, 20.0]])
    assert torch.equal(to_film(p, "linear"), torch.tensor([[0.0, 0.5], [1.0, 1.0]]))


def test_x2ct_is_eight_bit_of_its_own_maximum():
    p = torch.tensor([[[0.0, 1.0], [2.0, 4.0]], [[0.0, 10.0], [20.0, 40.0]]])
    film = to_film(p, "x2ct")
    expected = torch.tensor([[0.0, 63 / 255], [127 / 255, 1.0]])
    torch.testing.assert_close(film, torch.stack([expected, expected]))
    assert torch.equal(to_film(torch.zeros(2, 3, 3), "x2ct"), torch.zeros(2, 3, 3))


@pytest.mark.parametrize("style", ["linear", "x2ct"])
def test_gradients_pass(style):
    p = torch.tensor([[1.0, 2.0], [3.0, 7.0]], requires_grad=True)
    to_film(p, style)[0, 0].backward()
    assert float(p.grad[0, 0]) == pytest.approx(1 / 8 if style == "linear" else 1 / 7)


def test_unknown_style():
    with pytest.raises(InputError, match=r"unknown film style 'dark'.*linear, logistic, transmission, x2ct"):
        to_film(torch.zeros(1, 1), "dark")


def test_transmission_and_its_inverse():
    p = torch.tensor([[0.0, 1.0], [2.0, 6.0]], dtype=torch.float64)
    torch.testing.assert_close(to_film(p, "transmission", photometric="MONOCHROME1"), torch.exp(-p))
    torch.testing.assert_close(to_film(p, "transmission"), 1 - torch.exp(-p))


def test_logistic_has_fixed_limits():
    p = torch.tensor([[0.0, 3.0], [6.0, 100.0]], dtype=torch.float64)
    film = to_film(p, "logistic")
    assert float(film[0, 1]) == 0.5
    assert float(film[0, 0]) == pytest.approx(1 / (1 + math.exp(2.4)))
    assert float(film[1, 1]) == pytest.approx(1)
    # Another patient in the batch changes nothing.
    assert torch.equal(to_film(torch.stack([p, 5 * p]), "logistic")[0], film)


def test_noise_is_poissons():
    p = torch.full((400, 400), 2.0, dtype=torch.float64)
    noisy = 8 * to_film(p, "linear", photons=1e4, generator=torch.Generator().manual_seed(0))
    assert float(noisy.mean()) == pytest.approx(2.0, abs=2e-3)
    assert float(noisy.std()) == pytest.approx(1 / math.sqrt(1e4 * math.exp(-2)), rel=0.02)
    again = 8 * to_film(p, "linear", photons=1e4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(noisy, again)
    dark = to_film(torch.full((50, 50), 30.0), "transmission", photons=10.0)  # no photon arrives: half a one
    torch.testing.assert_close(dark, torch.full((50, 50), 0.95))


def test_the_gradient_passes_through_noise():
    p = torch.tensor([[1.0, 2.0]], requires_grad=True)
    to_film(p, "linear", photons=1e6, generator=torch.Generator().manual_seed(1)).sum().backward()
    torch.testing.assert_close(p.grad, torch.full((1, 2), 1 / 8))


def test_bad_choices():
    with pytest.raises(InputError, match="MONOCHROME2, MONOCHROME1"):
        to_film(torch.zeros(1, 1), photometric="RGB")
    with pytest.raises(InputError, match="photons must be positive"):
        to_film(torch.zeros(1, 1), photons=0.0)


@pytest.mark.parametrize(("style", "film"), [("linear", 0.375), ("logistic", 0.5), ("transmission", 1 - math.exp(-3))])
def test_line_integrals_are_read_back(style, film):
    p = torch.tensor([[0.0, 0.5], [3.0, 6.0]], dtype=torch.float64)
    found, known = from_film(to_film(p, style), style)
    torch.testing.assert_close(found, p)
    assert bool(known.all())
    three, _ = from_film(torch.tensor([[film]], dtype=torch.float64), style)
    assert float(three) == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize("style", ["linear", "logistic", "transmission"])
def test_a_clipped_pixel_is_not_known(style):
    found, known = from_film(torch.tensor([[0.2, 1.0]]), style)
    assert known.tolist() == [[True, False]]
    assert bool(torch.isfinite(found).all())


def test_no_line_integrals_in_a_film_that_was_divided_by_its_maximum():
    with pytest.raises(InputError, match="its own maximum"):
        from_film(torch.zeros(1, 1), "x2ct")
    with pytest.raises(InputError, match="unknown film style 'dark'"):
        from_film(torch.zeros(1, 1), "dark")


@pytest.mark.parametrize(("share", "widths"), [(0.5, [45.0]), (0.35, [15.0]), (0.9, [2.0, 30.0])])
def test_scatter_is_what_interacts_once_spread_by_gaussians(share, widths):
    """Against SciPy: a chest of lung and mediastinum in air, and noise."""
    p = torch.zeros(128, 96, dtype=torch.float64)
    p[10:, 10:80], p[10:, 40:55] = 1.5, 5.0
    p = torch.stack([p, 8 * torch.rand(128, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0))])
    found = add_scatter(p, share, widths if len(widths) > 1 else widths[0]).numpy()
    for plane, radiation in zip(p.numpy(), np.exp(-found), strict=True):
        source = plane * np.exp(-plane)
        spread = np.mean([gaussian_filter(source, width, mode="reflect", truncate=8) for width in widths], axis=0)
        added, shadow = radiation - np.exp(-plane), plane > 0.1
        np.testing.assert_allclose(added / added.max(), spread / spread.max(), atol=1e-7)
        assert added[shadow].sum() / radiation[shadow].sum() == pytest.approx(share, rel=1e-9)


def test_scatter_hides_what_is_dense():
    """Behind a slab the share is that asked for; next to lungs, most of what passes a dense mediastinum is scatter."""
    slab = torch.full((1, 2, 64, 48), 3.25)
    torch.testing.assert_close(add_scatter(slab, 0.5, 20.0), slab + math.log(0.5), atol=1e-5, rtol=0)
    chest = torch.full((64, 64), 1.5, dtype=torch.float64)
    chest[:, 24:40] = 5.0
    found = add_scatter(chest, 0.3, 15.0)
    of_lung, of_mediastinum = (1 - math.exp(float(found[32, at] - chest[32, at])) for at in (4, 32))
    assert 0.1 < of_lung < 0.35
    assert of_mediastinum > 0.8
    assert torch.equal(add_scatter(slab, 0.0, 17.0), slab)


def test_the_gradient_passes_through_scatter():
    p = 4 * torch.rand(12, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert torch.autograd.gradcheck(lambda t: add_scatter(t, 0.3, 4.0), p.requires_grad_())


@pytest.mark.parametrize(
    ("share", "width", "words"), [(1.0, 10.0, r"share of scatter must lie in \[0, 1\), got 1.0"), (0.2, 0.0, "width")]
)
def test_scatter_that_makes_no_sense_is_refused(share, width, words):
    with pytest.raises(InputError, match=words):
        add_scatter(torch.zeros(4, 4), share, width)
