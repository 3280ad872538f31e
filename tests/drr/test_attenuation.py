import json

import numpy as np
import pytest
import torch

from conventions import InputError
from drr import ConeBeam, VolumeGrid, harden_beam, hu_to_mu, material_densities, mu_to_hu, project
from drr.attenuation import BONE_HU, MU_WATER


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
    with pytest.raises(InputError, match=r"unknown attenuation curve 'bones'.*water, bone, plastimatch"):
        hu_to_mu(torch.zeros(1), "bones")


def test_a_hundred_millimetres_of_water():
    grid = VolumeGrid((8, 40, 8), 2.5)
    view = ConeBeam.pa(sdd=1800, sod=1650, detector_shape=(1, 1))
    for mu_water in (MU_WATER, 0.0206):
        mu = hu_to_mu(torch.zeros(1, 1, *grid.shape, dtype=torch.float64), "water", mu_water=mu_water)
        assert float(project(mu, grid, [view])) == pytest.approx(100 * mu_water, rel=1e-12)


def test_bone_is_bilinear():
    hu = torch.tensor([-2000.0, -1000.0, 0.0, 200.0, 300.0, 1590.0], dtype=torch.float64)
    mu = hu_to_mu(hu, "bone", mu_water=0.02, knee_hu=200.0, slope=5e-5)
    expected = torch.tensor([0, 0, 0.02, 0.024, 0.029, 0.024 + 1390 * 5e-5], dtype=torch.float64)
    torch.testing.assert_close(mu, expected)
    # NIST, cortical bone of 1.92 g/cm3: 0.3148 cm2/g at 60 keV.
    assert float(hu_to_mu(torch.tensor([BONE_HU]), "bone")) == pytest.approx(0.3148 * 0.192, rel=1e-3)


def test_unknown_parameter():
    with pytest.raises(InputError, match="'water' has no parameter slope: it has mu_water"):
        hu_to_mu(torch.zeros(1), "water", slope=1.0)
    with pytest.raises(InputError, match="it has none"):
        hu_to_mu(torch.zeros(1), "plastimatch", mu_water=1.0)


def test_two_materials_harden_the_beam():
    grid = VolumeGrid((8, 60, 8), 5.0)  # 300 mm along the central ray
    view = ConeBeam.pa(sdd=1800, sod=1500, detector_shape=(1, 1))
    hu = torch.full((1, 1, *grid.shape), -1000.0, dtype=torch.float64)
    hu[:, :, :, :40] = 0.0
    hu[:, :, :, 40:44] = BONE_HU
    millimetres = project(material_densities(hu)[0][:, None], grid, [view])[:, 0]
    assert millimetres.flatten().tolist() == pytest.approx([200.0, 20.0])
    spectrum = {50: (0.35, 0.02269, 0.0814), 60: (0.35, 0.02059, 0.0604), 80: (0.3, 0.01837, 0.0428)}
    expected = -np.log(sum(s * np.exp(-w * 200 - b * 20) for s, w, b in spectrum.values()))
    measured = harden_beam(millimetres)
    assert float(measured) == pytest.approx(expected, rel=1e-12)
    mean = sum(s * (w * 200 + b * 20) for s, w, b in spectrum.values())
    assert float(measured) < mean


def test_half_a_voxel_of_bone_is_half_bone_and_half_water():
    water, bone = material_densities(torch.full((1, 1, 1, 1, 1), BONE_HU / 2, dtype=torch.float64)).flatten().tolist()
    assert (water, bone) == (0.5, 0.5)
    assert material_densities(torch.zeros(1, 4, 4, 4)).shape == (2, 4, 4, 4)
    water, bone = material_densities(torch.full((1, 1, 1, 1, 1), -700.0, dtype=torch.float64)).flatten().tolist()
    assert water == pytest.approx(0.3)
    assert bone == 0


@pytest.mark.parametrize("curve", ["water", "bone", "plastimatch"])
def test_hu_are_read_back(curve):
    hu = torch.tensor([-700.0, -20.0, 0.0, 250.0, 1590.0, 3000.0], dtype=torch.float64)
    torch.testing.assert_close(mu_to_hu(hu_to_mu(hu, curve), curve), hu)
    # Nothing and water, which need no formula.
    ends = mu_to_hu(torch.tensor([0.0, {"water": 0.0194, "bone": 0.0206, "plastimatch": 0.022}[curve]]), curve)
    torch.testing.assert_close(ends, torch.tensor([-1000.0, 0.0]), atol=1e-3, rtol=0)
    with pytest.raises(InputError, match="unknown attenuation curve"):
        mu_to_hu(hu, "bones")
