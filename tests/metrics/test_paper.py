import json
import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from conventions import InputError
from metrics import PAPER_MEASURES, paper_metrics, psnr
from tests.oracle import X2CT, random_input

AUTHORS = {"paper_cosine": "CosineSimilarity", "paper_psnr_3d": "psnr-3d"}
"""Our name -> the authors', where it is not theirs in lower case after `paper_`."""

ORACLE_SHAPE = (2, 40, 48, 56)
IDENTICAL_SLICES = slice(0, 5)
"""Identical slices along H in the oracle's case of that name."""


def authors_name(name):
    return AUTHORS.get(name) or name.removeprefix("paper_").upper().replace("_", "-").replace("AVG", "avg")


def oracle_volumes(case):
    """Return prediction and target of a case, each (2, 1, 40, 48, 56) float32."""
    if case == "metrics_noise":
        prediction, target = (random_input(tag, ORACLE_SHAPE) for tag in ("metric_noise", "metric_real"))
    else:
        stored = np.load(X2CT / "metrics_inputs.npz")
        prediction, target = torch.from_numpy(stored["fake"]), torch.from_numpy(stored["real"])
    if case == "metrics_identical":
        prediction = target
    if case == "metrics_identical_slices":
        prediction = prediction.clone()
        prediction[:, :, IDENTICAL_SLICES] = target[:, :, IDENTICAL_SLICES]
    return prediction[:, None], target[:, None]


@pytest.fixture
def volumes():
    """Two random volumes (2, 1, 20, 22, 24); the prediction leaves [0, 1]."""
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 1, (2, 1, 20, 22, 24))
    return torch.tensor(target + rng.normal(0, 0.1, target.shape)).float(), torch.tensor(target).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["metrics_smooth", "metrics_noise", "metrics_identical_slices", "metrics_identical"])
def test_the_authors_numbers(case, dtype, device, oracle):
    expected = json.loads((oracle / "x2ct" / "misc.json").read_text())[case]
    prediction, target = (volume.to(device, dtype) for volume in oracle_volumes(case))
    measured = paper_metrics(prediction, target)
    assert {authors_name(name) for name in measured} == set(expected)
    for name, values in measured.items():
        assert (values.dtype, values.device.type) == (torch.float64, device.type)
        np.testing.assert_allclose(values.cpu(), expected[authors_name(name)], rtol=0, atol=1e-9, err_msg=name)


def test_names_and_their_order(volumes):
    assert tuple(paper_metrics(*volumes)) == PAPER_MEASURES
    assert all(name.startswith("paper_") for name in PAPER_MEASURES)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slice_wise_ssim_is_scikit_images(volumes, axis):
    measured = paper_metrics(*volumes)[f"paper_ssim_{axis + 1}"]
    for i in range(2):
        a, b = (np.moveaxis(v[i, 0].double().clamp(0, 1).numpy(), axis, -1) for v in volumes)
        assert float(measured[i]) == pytest.approx(structural_similarity(a, b, data_range=1.0, channel_axis=-1))


def test_the_peak_of_4095_adds_4_287_db(volumes):
    prediction, target = volumes
    measured = paper_metrics(prediction, target)
    whole = [(volume.clamp(0, 1) * 2500).trunc() for volume in volumes]
    gain = measured["paper_psnr_3d"] - psnr(*whole, 2500.0)
    np.testing.assert_allclose(gain, 20 * math.log10(4095 / 2500), atol=1e-5)
    np.testing.assert_allclose(gain, 4.287, atol=1e-3)
    # Truncation to whole HU matters little compared with the peak.
    corrected = psnr(prediction.clamp(0, 1), target, 1.0)
    np.testing.assert_allclose(measured["paper_psnr_3d"] - corrected, 4.287, atol=5e-3)


def test_empty_slices_lift_the_slice_wise_psnr_alone(volumes):
    prediction, target = (volume.clamp(0, 1) for volume in volumes)
    prediction[:, :, :5] = target[:, :, :5] = 0
    measured = paper_metrics(prediction, target)
    rest = paper_metrics(prediction[:, :, 5:], target[:, :, 5:])
    torch.testing.assert_close(measured["paper_psnr_1"], (5 * 100 + 15 * rest["paper_psnr_1"]) / 20)
    assert (measured["paper_psnr_1"] > measured["paper_psnr_3d"] + 15).all()


def test_a_batch_is_its_cases(volumes):
    together = paper_metrics(*volumes)
    for i in range(2):
        alone = paper_metrics(*(volume[i : i + 1] for volume in volumes))
        for name, value in alone.items():
            torch.testing.assert_close(together[name][i : i + 1], value, rtol=1e-12, atol=0)


def test_a_prediction_is_clamped_and_left_as_it_was(volumes):
    prediction, target = volumes
    before = prediction.clone()
    clamped = paper_metrics(prediction.clamp(0, 1), target)
    assert all(torch.equal(value, clamped[name]) for name, value in paper_metrics(prediction, target).items())
    assert torch.equal(prediction, before)


def test_a_prediction_of_air_has_a_cosine_of_0(volumes):
    measured = paper_metrics(torch.zeros_like(volumes[1]), volumes[1])
    assert measured["paper_cosine"].tolist() == [0, 0]
    assert all(torch.isfinite(value).all() for value in measured.values())


@pytest.mark.parametrize(
    ("shape", "other", "words"),
    [
        pytest.param(
            (1, 1, 8, 8, 8),
            (1, 1, 8, 8, 9),
            r"one shape, got \(1, 1, 8, 8, 8\) and \(1, 1, 8, 8, 9\); resample one",
            id="two shapes",
        ),
        pytest.param(
            (1, 8, 8, 8), (1, 8, 8, 8), r"\(B, 1, D, H, W\) with sides of at least 7, got \(1, 8, 8, 8\)", id="no batch"
        ),
        pytest.param((1, 2, 8, 8, 8), (1, 2, 8, 8, 8), r"\(B, 1, D, H, W\)", id="two channels"),
        pytest.param((1, 1, 8, 6, 8), (1, 1, 8, 6, 8), r"sides of at least 7, got \(1, 1, 8, 6, 8\)", id="too small"),
    ],
)
def test_other_shapes_are_refused_in_a_sentence(shape, other, words):
    with pytest.raises(InputError, match=words) as caught:
        paper_metrics(torch.zeros(shape), torch.zeros(other))
    assert "\n" not in str(caught.value)
