"""Fitted tones against known curves."""

import numpy as np
import pytest
import torch

from networks.film_tones import fit_affine, fit_monotone


@pytest.fixture
def line_integrals():
    return 6 * torch.rand(2, 2, 40, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_line_is_found(line_integrals):
    film = 0.1 + 0.12 * line_integrals
    rays = torch.ones_like(film)
    torch.testing.assert_close(fit_affine(film, line_integrals, rays), line_integrals)


def test_least_squares_of_numpy(line_integrals):
    film = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rays = (film > 0.2).double()
    chosen = film > 0.2
    expected = line_integrals[:1, :1] + film
    slope, offset = np.polyfit(film[chosen].numpy(), expected[chosen].numpy(), 1)
    torch.testing.assert_close(fit_affine(film, expected, rays), slope * film + offset)


def test_an_inverted_film_says_nothing(line_integrals):
    for fit in (fit_affine, fit_monotone):
        found = fit(1 - line_integrals / 8, line_integrals, torch.ones_like(line_integrals))
        assert float(found.std(dim=(2, 3)).max()) < 1e-6


@pytest.mark.parametrize("curve", [lambda p: torch.sigmoid(1.3 * (p - 2.5)), lambda p: (p / 6) ** 1.6, torch.sqrt])
def test_an_increasing_curve_is_found(line_integrals, curve):
    """Each view has as many pixels a bin as make the curve's bend inside a bin the only error."""
    film = curve(line_integrals)
    found = fit_monotone(film, line_integrals, torch.ones_like(film))
    error = (found - line_integrals).abs()
    assert float(error.median()) < 0.01
    assert float(error.max()) < 0.6  # in the outermost bins, where the curve is continued as a line


def test_it_increases_whatever_is_expected(line_integrals):
    film = torch.rand(2, 2, 40, 50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = fit_monotone(film, -film + 0.3 * line_integrals, torch.ones_like(film))
    for values, fitted in zip(film.flatten(0, 1).flatten(1), found.flatten(0, 1).flatten(1), strict=True):
        assert float(fitted[values.argsort()].diff().min()) >= -1e-12


def test_outliers_and_pixels_without_measurement(line_integrals):
    film = line_integrals / 8
    spoiled, rays = film.clone(), torch.ones_like(film)
    spoiled[..., :5], rays[..., :5] = 0, 0
    found = fit_monotone(spoiled, line_integrals, rays)[..., 5:]
    assert float((found - line_integrals[..., 5:]).abs().median()) < 0.01
    marker = film.clone()
    marker[..., :2, :8] = 1
    found = fit_monotone(marker, line_integrals, torch.ones_like(film))[..., 2:, :]
    assert float((found - line_integrals[..., 2:, :]).abs().median()) < 0.02


def test_a_constant_film():
    expected = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    for fit in (fit_affine, fit_monotone):
        found = fit(torch.full_like(expected, 0.4), expected, torch.ones_like(expected))
        assert bool(torch.isfinite(found).all())
        assert float(found.std()) < 1e-9


def test_black_air_is_one_level(line_integrals):
    """Half of the film is black air, as in many films; the rest is still fitted."""
    p = line_integrals.clone()
    p[..., :25] = 0
    found = fit_monotone(p / 8, p, torch.ones_like(p))
    assert float((found - p).abs().median()) < 0.01
    assert float(found[..., :25].abs().max()) < 0.1


def test_the_gradient_reaches_the_film(line_integrals):
    film = (line_integrals / 8).requires_grad_()
    for fit in (fit_affine, fit_monotone):
        (gradient,) = torch.autograd.grad(fit(film, line_integrals, torch.ones_like(film)).sum(), film)
        assert float(gradient.median()) == pytest.approx(8, rel=0.1)
