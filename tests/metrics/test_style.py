"""Metrics of sets of radiographs against formulas, loops and other libraries."""

import math
import re

import numpy as np
import pytest
import torch
from monai.metrics.fid import get_fid_score
from monai.networks.nets import DenseNet121

from conventions import InputError
from metrics import (
    PretrainedFeatures,
    RandomFeatures,
    embedding,
    fid,
    intensity_wasserstein,
    kid,
    power_spectrum,
    power_spectrum_distance,
)


def normal(count, dimensions, mean=0.0, std=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return mean + std * torch.randn(count, dimensions, generator=generator, dtype=torch.float64)


def test_kid_is_the_unbiased_discrepancy_written_as_loops():
    a, b = normal(6, 3).tolist(), normal(5, 3, mean=0.5, seed=1).tolist()

    def k(x, y):
        return (sum(p * q for p, q in zip(x, y, strict=True)) / 3 + 1) ** 3

    within = [
        sum(k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j) / (len(s) * (len(s) - 1))
        for s in (a, b)
    ]
    across = sum(k(x, y) for x in a for y in b) / 30
    distance, deviation = kid(torch.tensor(a), torch.tensor(b))
    assert distance == pytest.approx(sum(within) - 2 * across, rel=1e-5)
    generator = torch.Generator().manual_seed(0)
    subsets = []
    for _ in range(100):
        x, y = (torch.tensor(s)[torch.randperm(len(s), generator=generator)[:2]] for s in (a, b))
        same = [k(x[0].tolist(), x[1].tolist()), k(y[0].tolist(), y[1].tolist())]
        subsets.append(sum(same) - 2 * np.mean([k(p, q) for p in x.tolist() for q in y.tolist()]))
    assert deviation == pytest.approx(np.std(subsets, ddof=1), rel=1e-5)


def test_copies_of_an_image_are_no_more_images():
    """With each of a few images eight times, KID does not change if the copies are given as groups."""
    found = {"once": [], "copies": [], "groups": []}
    for i in range(40):
        many, few = normal(40, 8, seed=2 * i), normal(6, 8, seed=2 * i + 1)
        copies, groups = few.repeat_interleave(8, 0), torch.arange(6).repeat_interleave(8)
        found["once"].append(kid(many, few)[0])
        found["copies"].append(kid(many, copies)[0])
        found["groups"].append(kid(many, copies, None, groups)[0])
    np.testing.assert_allclose(found["groups"], found["once"], rtol=1e-9)
    assert abs(np.mean(found["once"])) < 2 * np.std(found["once"]) / 40**0.5
    assert np.mean(found["copies"]) > 5 * abs(np.mean(found["once"]))
    with pytest.raises(ValueError, match="2 groups"):
        kid(normal(9, 8), normal(9, 8), None, torch.zeros(9))


def test_kid_is_about_nothing_for_one_distribution_and_grows_with_the_distance():
    same = [kid(normal(200, 8, seed=2 * i), normal(200, 8, seed=2 * i + 1))[0] for i in range(8)]
    assert min(same) < 0 < max(same)
    assert max(map(abs, same)) < 0.1
    near, far = (kid(normal(200, 8), normal(200, 8, mean=m, seed=9))[0] for m in (0.5, 1.0))
    assert max(same) < near < far
    with pytest.raises(ValueError, match="4 images or more"):
        kid(normal(3, 8), normal(9, 8))


def test_fid_is_the_distance_of_two_normal_distributions():
    a = normal(4000, 2)
    a = (a - a.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(a.T))).T  # exactly mean 0, covariance 1
    b = 3 * a + torch.tensor([1.0, 2.0])
    assert fid(b, a) == pytest.approx(1 + 4 + 2 * (3 - 1) ** 2, rel=1e-6)  # (std difference)^2 in each dimension
    assert fid(a, a) == pytest.approx(0, abs=1e-6)


@pytest.mark.filterwarnings("ignore:The `disp` argument")
def test_fid_is_monais():
    a, b = normal(60, 5), normal(50, 5, mean=0.3, std=1.5, seed=1)
    assert fid(a, b) == pytest.approx(float(get_fid_score(a, b)), rel=1e-6)


def test_fid_of_less_images_than_features_is_a_number():
    a, b = normal(6, 40), normal(6, 40, seed=1)
    assert fid(a, a) == pytest.approx(0, abs=1e-9)
    assert fid(a, b) > 0


def test_grey_values_that_all_move_are_as_far_apart_as_they_moved():
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert intensity_wasserstein(images, images[:2] + 0.25) == pytest.approx(0.25, abs=0.03)
    assert intensity_wasserstein(images, images + 0.25) == pytest.approx(0.25, abs=1e-6)
    assert intensity_wasserstein(images, images.flip(-1)) == pytest.approx(0, abs=1e-6)


def test_a_wave_has_its_power_at_its_frequency_and_twice_the_amplitude_is_6_db():
    angles = 2 * math.pi * np.arange(64) / 64
    wave = torch.from_numpy(np.cos(10 * angles)[None, None, :, None] * np.ones(64))
    spectrum = power_spectrum(wave)
    assert spectrum.shape == (32,)
    assert int(spectrum.argmax()) == 10 - 1
    assert float(spectrum[[*range(7), *range(12, 32)]].max()) < 1e-3 * float(spectrum.max())
    noise = torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    assert power_spectrum_distance(noise, 2 * noise) == pytest.approx(20 * math.log10(2), rel=1e-6)
    assert power_spectrum_distance(noise, noise.flip(-1)) == pytest.approx(0, abs=1e-6)


def test_random_features_are_those_of_the_seed_and_tell_textures_apart():
    noise = torch.rand(16, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)
    features = embedding()
    torch.manual_seed(123)
    assert torch.equal(features(noise), RandomFeatures(0)(noise))
    assert not torch.equal(features(noise), RandomFeatures(1)(noise))
    assert features(noise).shape == (16, 96)
    assert kid(features(noise[:8]), features(noise[8:]))[0] < 0.1 * kid(features(noise), features(smooth))[0]
    assert features.description == "96 random features, seed 0"


def torchvision_names(state):
    """Rename the entries of MONAI's DenseNet as in torchvision's and torchxrayvision's models."""
    names = {key: key.replace(".layers.", ".") for key in state}
    return {
        names[key].replace("class_layers.out", "classifier"): value
        for key, value in state.items()
        if key.startswith("features") or "out" in key
    }


def names_of_the_file(state):
    """Rename them as in densenet121-a639ec97.pth: norm.1 for norm1 in dense layers, and no counters."""
    state = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    return {re.sub(r"(denselayer\d+\.)(norm|conv)([12])", r"\1\2.\3", key): value for key, value in state.items()}


@pytest.mark.parametrize(
    ("colours", "trained_on", "old"),
    [
        pytest.param(1, "radiographs", False, id="torchxrayvision"),
        pytest.param(3, "ImageNet", True, id="file of torchvision"),
    ],
)
def test_weights_of_torchvisions_names_give_the_features_of_the_network(tmp_path, colours, trained_on, old):
    torch.manual_seed(0)
    network = DenseNet121(spatial_dims=2, in_channels=colours, out_channels=18).eval()
    state = torchvision_names(network.state_dict())
    assert "features.denseblock1.denselayer1.norm1.weight" in state
    if old:
        state = names_of_the_file(state)
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, tmp_path / "weights.pth")
    features = embedding(tmp_path / "weights.pth")
    images = torch.rand(2, 1, 224, 224)
    if colours == 1:
        shown = (2 * images - 1) * 1024
    else:
        shown = (images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
            3, 1, 1
        )
    with torch.no_grad():
        pooled = torch.nn.functional.adaptive_avg_pool2d(torch.relu(network.features(shown)), 1).flatten(1)
    torch.testing.assert_close(features(images), pooled)
    assert trained_on in features.description
    assert features(torch.rand(2, 1, 64, 64)).shape == (2, 1024)


def test_what_holds_no_densenet_is_refused_by_name(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("weights")
    for name in ("other.pt", "text.pt", "missing.pt"):
        with pytest.raises(InputError, match=f"{name}: holds no weights of a DenseNet-121"):
            PretrainedFeatures(tmp_path / name)
