import math

import numpy as np
import pytest
import torch

from losses import (
    FeatureMatchingLoss,
    GradientCorrelationLoss,
    LaplaceLoss,
    LSGANLoss,
    PatchNCELoss,
    ProjectionLoss,
    WeightedLosses,
)


def test_lsgan_by_hand():
    scores = torch.tensor([[0.5, -1.0]])
    loss = LSGANLoss()
    assert float(loss(scores, True, True)) == pytest.approx((0.25 + 4.0) / 2)
    assert float(loss(scores, False, True)) == pytest.approx((0.25 + 1.0) / 2)
    assert float(loss(scores, True, False)) == pytest.approx((0.25 + 4.0) / 2)


def test_projection_by_hand():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 1, 4, 5, 6))
    expected = np.mean([np.abs(np.abs(a).mean(axis) - np.abs(b).mean(axis)).mean() for axis in (2, 3, 4)])
    assert float(ProjectionLoss()(torch.tensor(a), torch.tensor(b))) == pytest.approx(expected, rel=1e-12)


def test_weights_and_names():
    terms = {"mse": {"loss": torch.nn.MSELoss(), "weight": 10}, "projection": {"loss": ProjectionLoss(), "weight": 2}}
    loss = WeightedLosses(terms)
    ones, zeros = torch.ones(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2)
    assert {name: float(value) for name, value in loss(ones, zeros).items()} == {"mse": 10.0, "projection": 2.0}


def test_scores_of_several_scales_are_summed():
    scores = torch.tensor([[0.5, -1.0]])
    assert float(LSGANLoss()([scores, scores], True, True)) == pytest.approx(0.25 + 4.0)


def test_feature_matching_by_hand():
    loss = FeatureMatchingLoss()
    ones, threes, scores = torch.ones(2), torch.full((2,), 3.0), torch.zeros(1)
    # Three layers and scores: 4 / 3 of the sum of the three distances; the scores do not count.
    ours, theirs = [ones, ones, ones, scores], [threes, ones, threes, scores + 9]
    assert float(loss(ours, theirs)) == pytest.approx(4 / 3 * 4)
    assert float(loss([ours, theirs], [theirs, theirs])) == pytest.approx(4 / 3 * 4 / 2)


def test_patch_nce_is_the_cross_entropy_of_cosines_patch_by_patch():
    torch.manual_seed(0)
    layers = [torch.nn.functional.normalize(torch.randn(2, count, 4), dim=-1) for count in (3, 5)]
    others = [torch.nn.functional.normalize(torch.randn_like(layer), dim=-1) for layer in layers]
    means = []
    for ours, theirs in zip(layers, others, strict=True):
        terms = [
            -math.log(math.exp(float(a[i] @ b[i]) / 0.07) / sum(math.exp(float(a[i] @ k) / 0.07) for k in b))
            for a, b in zip(ours, theirs, strict=True)
            for i in range(len(a))
        ]
        means.append(sum(terms) / len(terms))
    assert float(PatchNCELoss()(layers, others)) == pytest.approx(sum(means) / 2, rel=1e-5)


def test_gradient_correlation_sees_edges_and_no_tone():
    torch.manual_seed(0)
    image = torch.rand(2, 1, 9, 8)
    loss = GradientCorrelationLoss()
    assert float(loss(image, 3 * image - 1)) == pytest.approx(0, abs=1e-6)
    assert float(loss(image, -image)) == pytest.approx(2, abs=1e-6)
    expected = []
    other = torch.rand(2, 1, 9, 8)
    for axis in (1, 2):
        both = zip(image.numpy(), other.numpy(), strict=True)
        pairs = [(np.diff(a[0], axis=axis - 1), np.diff(b[0], axis=axis - 1)) for a, b in both]
        expected.append(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))
    assert float(loss(image, other)) == pytest.approx(1 - np.mean(expected), abs=1e-6)
    constant = torch.zeros(1, 1, 8, 8, requires_grad=True)
    loss(constant, image[:1, :, :8]).backward()
    assert bool(constant.grad.isfinite().all())


def test_laplace_loss_is_least_at_the_mean_absolute_error():
    """Errors of 0.1 and 0.3 in two regions: the best scales are those, and the loss there is 1 + log 2b."""
    prediction, target = torch.zeros(1, 1, 2, 2, 2, requires_grad=True), torch.full((1, 1, 2, 2, 2), 0.1)
    target[..., 1] = -0.3
    best = target.abs()
    loss = LaplaceLoss()
    expected = 1 + (math.log(0.2) + math.log(0.6)) / 2
    assert float(loss(best, prediction, target)) == pytest.approx(expected, rel=1e-6)
    for factor in (0.9, 1.1):
        assert float(loss(factor * best, prediction, target)) > expected
    scale = best.clone().requires_grad_()
    loss(scale, prediction, target).backward()
    assert prediction.grad is None
    torch.testing.assert_close(scale.grad, torch.zeros_like(scale))
