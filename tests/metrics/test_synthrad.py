"""Values are those of SynthRAD2025's `functions/image_metrics.py` (commit f37981d), run on the same volumes."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from conventions import InputError
from metrics import psnr, synthrad_metrics
from tests.oracle import random_state

THEIRS = {
    (128, 100, 112): (100.08657544923088, 31.286228246107747, 0.9987836457606118),
    (60, 72, 98): (99.8294365325098, 31.296305210435584, 0.9991187771613103),
}


def volumes(shape):
    """Random truth from -1100 to 3300 HU, a prediction within 200 HU of it, and a ball as mask (1, 1, D, H, W)."""
    truth = -1100 + 4400 * random_state("synthrad_truth").random_sample(shape)
    prediction = truth + 400 * (random_state("synthrad_prediction").random_sample(shape) - 0.5)
    places = np.indices(shape) / np.reshape(shape, (3, 1, 1, 1)) - 0.5
    return [torch.from_numpy(a)[None, None] for a in (prediction, truth, (places**2).sum(0) < 0.2)]


@pytest.mark.parametrize("shape", THEIRS)
def test_the_values_are_those_of_the_challenges_code(shape):
    found = synthrad_metrics(*volumes(shape))
    np.testing.assert_allclose([float(value) for value in found.values()], THEIRS[shape], rtol=1e-8)


def test_mae_and_psnr_are_those_of_numpy_and_scikit_image():
    prediction, truth, mask = volumes((40, 50, 60))
    found = synthrad_metrics(prediction, truth, mask)
    inside = mask.numpy()
    x, y = prediction.numpy()[inside], truth.numpy()[inside]
    assert float(found["synthrad_mae"]) == pytest.approx(np.abs(x - y).mean())
    clipped = [values.clip(-1024, 3000) for values in (y, x)]
    assert float(found["synthrad_psnr"]) == pytest.approx(peak_signal_noise_ratio(*clipped, data_range=4024))


def test_the_peaks_of_the_three_protocols_differ_by_constants():
    """4095 for 2500 HU gives 4.287 dB, 4024 gives 4.134 dB, on the same volumes."""
    truth = torch.zeros(1, 1, 100, 100, 100)
    prediction = truth + 50
    ours, papers = psnr(prediction, truth, 2500.0), psnr(prediction, truth, 4095.0)
    theirs = synthrad_metrics(prediction, truth, torch.ones_like(truth) > 0)["synthrad_psnr"]
    assert float(papers - ours) == pytest.approx(4.287, abs=1e-3)
    assert float(theirs - ours) == pytest.approx(20 * math.log10(4024 / 2500), abs=1e-4)


def test_bad_input():
    prediction, truth, mask = volumes((20, 20, 20))
    assert synthrad_metrics(prediction, truth, mask & False)["synthrad_mae"].isnan().all()
    with pytest.raises(InputError, match="of one shape"):
        synthrad_metrics(prediction, truth, mask[..., :10])
