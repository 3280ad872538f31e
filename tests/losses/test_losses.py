import numpy as np
import pytest
import torch

from losses import FeatureMatchingLoss, LSGANLoss, ProjectionLoss, WeightedLosses


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
