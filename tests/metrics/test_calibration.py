import numpy as np
import pytest
import torch

from metrics import BANDS, KEPT, LAPLACE_SHARES, calibration


def laplace(scale, seed=0):
    """Errors drawn from Laplace distributions of these scales, by numpy."""
    return torch.from_numpy(np.random.default_rng(seed).laplace(0, scale.numpy()))


def test_true_scales_give_the_shares_of_the_distribution():
    scale = torch.linspace(5, 100, 50**3, dtype=torch.float64).reshape(1, 1, 50, 50, 50)
    within, _ = calibration(scale, laplace(scale), torch.zeros_like(scale))
    torch.testing.assert_close(within[0], torch.tensor(LAPLACE_SHARES, dtype=torch.float64), atol=5e-3, rtol=0)
    assert pytest.approx(1 - np.exp(-np.array(BANDS)), abs=1e-4) == list(LAPLACE_SHARES)


def test_scales_of_half_the_error_are_too_sure():
    scale = torch.full((1, 1, 50, 50, 50), 40.0, dtype=torch.float64)
    within, _ = calibration(scale / 2, laplace(scale), torch.zeros_like(scale))
    assert within[0].tolist() == pytest.approx([1 - np.exp(-k / 2) for k in BANDS], abs=5e-3)


def test_the_curve_is_the_mean_error_of_the_surest_voxels():
    scale = torch.arange(1.0, 101.0).reshape(1, 1, 1, 10, 10)
    _, curve = calibration(scale, scale, torch.zeros_like(scale))
    # Errors of 1 to n have the mean (n + 1) / 2.
    assert curve[0].tolist() == pytest.approx([(100 * share + 1) / 2 for share in KEPT])
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    shuffled = scale.flatten()[order].reshape(scale.shape)
    _, again = calibration(shuffled, -shuffled, torch.zeros_like(scale))
    torch.testing.assert_close(again, curve)


def test_cases_are_measured_apart():
    scale = torch.ones(2, 1, 4, 4, 4)
    error = torch.stack([torch.full((1, 4, 4, 4), 0.5), torch.full((1, 4, 4, 4), 2.5)])
    within, curve = calibration(scale, error, torch.zeros_like(error))
    assert within.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert curve[:, 0].tolist() == [0.5, 2.5]
