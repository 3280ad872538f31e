import pytest
import torch

from conventions import InputError
from metrics import bland_altman


def test_bias_and_limits_by_hand():
    """Differences 100, -50, 150 and 0: mean 50, standard deviation 91.287."""
    reference = torch.tensor([1000.0, 500.0, 1500.0, 2000.0, 3000.0])
    measured = torch.tensor([1100.0, 450.0, 1650.0, 2000.0, torch.nan])
    found = bland_altman(measured, reference)
    assert (found.cases, found.bias) == (4, 50.0)
    assert found.high == pytest.approx(50 + 1.96 * 91.28709)
    assert found.low == pytest.approx(50 - 1.96 * 91.28709)
    assert found.mean_absolute == 75.0
    assert found.mean_absolute_percent == pytest.approx(7.5)


def test_one_case_has_no_limits():
    with pytest.raises(InputError, match="two cases or more"):
        bland_altman(torch.tensor([1.0, torch.nan]), torch.tensor([1.0, 2.0]))
