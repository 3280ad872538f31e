import json

import pytest
import torch

from conventions import InputError
from drr import hu_to_mu
from drr.attenuation import MU_WATER


def test_water_by_definition():
    hu = torch.tensor([-2000.0, -1000.0, -500.0, 0.0, 1000.0], dtype=torch.float64)
    expected = torch.tensor([0, 0, 0.5, 1, 2], dtype=torch.float64) * MU_WATER
    torch.testing.assert_close(hu_to_mu(hu, "water"), expected)
    # NIST XCOM, water: 0.2059 cm2/g at 60 keV and 0.1837 at 80 keV.
    assert 0.01837 < MU_WATER < 0.02059


def test_plastimatch_as_measured(oracle):
    measured = json.loads((oracle / "x2ct" / "hu_map.json").read_text())
    relative = measured["mu_per_mm_relative_to_water"]
    hu = torch.tensor([float(value) for value in relative], dtype=torch.float64)
    mu = hu_to_mu(hu, "plastimatch")
    # The program writes a tenth of the line integral.
    expected = torch.tensor(list(relative.values()), dtype=torch.float64) * measured["water_value_per_mm"] * 10
    torch.testing.assert_close(mu, expected, rtol=1e-5, atol=1e-9)


def test_unknown_curve():
    with pytest.raises(InputError, match=r"unknown attenuation curve 'bones'.*water, plastimatch"):
        hu_to_mu(torch.zeros(1), "bones")
