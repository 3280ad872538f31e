import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from metrics import mae, mse, psnr, psnr_2048, ssim


@pytest.fixture
def volumes():
    """Two smooth-ish volumes in HU."""
    rng = np.random.default_rng(0)
    first = rng.uniform(-1024, 1476, (2, 1, 20, 22, 24))
    second = first + rng.normal(0, 150, first.shape)
    return torch.tensor(first), torch.tensor(second)


def test_psnr_and_ssim_are_scikit_images(volumes):
    first, second = volumes
    for i in range(2):
        a, b = first[i, 0].numpy(), second[i, 0].numpy()
        assert float(psnr(second, first, 2500.0)[i]) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=2500))
        assert float(ssim(second, first, 2500.0)[i]) == pytest.approx(structural_similarity(a, b, data_range=2500))


def test_ssim_over_two_axes_is_the_mean_over_slices(volumes):
    first, second = volumes
    pairs = zip(first[0, 0].numpy(), second[0, 0].numpy(), strict=True)
    slices = [structural_similarity(a, b, data_range=2500) for a, b in pairs]
    assert float(ssim(second, first, 2500.0, axes=(3, 4))[0]) == pytest.approx(np.mean(slices))


def test_psnr_of_unit_values_and_of_hu_is_the_same(volumes):
    first, second = volumes
    unit = [(v + 1024) / 2500 for v in volumes]
    torch.testing.assert_close(psnr(unit[1], unit[0], 1.0), psnr(second, first, 2500.0))


def test_the_authors_peak_adds_4_29_db(volumes):
    first, second = volumes
    difference = psnr(second, first, 4095.0) - psnr(second, first, 2500.0)
    np.testing.assert_allclose(difference, 4.287, atol=1e-3)


def test_the_narrow_window_hides_what_is_denser(volumes):
    first, second = volumes
    for i in range(2):
        a, b = (v[i, 0].clip(-1024, 1024).numpy() for v in volumes)
        assert float(psnr_2048(second, first)[i]) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=2048))
    dense = first.clamp(min=1100)
    assert torch.isinf(psnr_2048(dense, dense + 200)).all()


def test_mae_and_mse_by_hand():
    a = torch.tensor([[0.0, 2.0], [1.0, 1.0]])
    b = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert mae(a, b).tolist() == [1.5, 0.0]
    assert mse(a, b).tolist() == [2.5, 0.0]


def test_identical_volumes(volumes):
    first, _ = volumes
    assert torch.isinf(psnr(first, first, 2500.0)).all()
    torch.testing.assert_close(ssim(first, first, 2500.0), torch.ones(2, dtype=torch.float64))


def test_float32_is_good_to_1e_5(volumes):
    first, second = (v.float() for v in volumes)
    exact = ssim(volumes[1], volumes[0], 2500.0)
    torch.testing.assert_close(ssim(second, first, 2500.0).double(), exact, rtol=0, atol=1e-5)
