import numpy as np
import torch

from metrics import HU_ERRORS, hu_errors, masked_mae


def test_errors_by_tissue_are_those_of_each_block():
    """Five blocks of one tissue each, wrong by 10, 20, 30, 40 and 50 HU; the first is air outside the body."""
    truth = torch.tensor([-1000.0, -800.0, -100.0, 40.0, 600.0]).repeat(2)[:, None, None].expand(10, 4, 4)[None, None]
    wrong = torch.tensor([10.0, -20.0, 30.0, -40.0, 50.0]).repeat(2)[:, None, None]
    found = {name: float(value) for name, value in hu_errors(truth + wrong, truth, truth > -900).items()}
    assert list(found) == list(HU_ERRORS)
    np.testing.assert_allclose(list(found.values()), [30, np.sqrt(1100), 35, 10, 20, 30, 40, 50], rtol=1e-6)


def test_a_tissue_that_is_not_there_is_not_measured():
    water = torch.zeros(1, 1, 4, 4, 4)
    found = hu_errors(water, water, torch.ones_like(water, dtype=torch.bool))
    assert found["bone_mae_hu"].isnan().all()
    assert float(found["soft_mae_hu"]) == 0
    assert masked_mae(water, water, torch.zeros_like(water, dtype=torch.bool)).isnan().all()
