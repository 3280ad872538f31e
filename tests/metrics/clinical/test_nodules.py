import math

import numpy as np
import pytest
import torch

from drr import VolumeGrid, hu_to_mu, preset, project
from metrics import Nodule, contrast_left, nodule_sites, plant, shadow_contrast, sphere_coverage

SPACING, SHAPE = 2.5, (64, 64, 64)
DIAMETERS = (5.0, 10.0, 16.0, 24.0, 32.0)


@pytest.fixture
def lungs():
    """Two boxes of 75 x 90 x 60 mm."""
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[10:50, 14:50, 4:28] = mask[10:50, 14:50, 36:60] = True
    return mask


@pytest.mark.parametrize("diameter", DIAMETERS)
def test_a_sphere_has_its_volume(diameter):
    _, share = sphere_coverage(Nodule((31.3, 30.0, 32.4), diameter), SHAPE, SPACING)
    assert float(share.sum()) * SPACING**3 == pytest.approx(math.pi / 6 * diameter**3, rel=0.03)


def test_sites_are_in_the_lungs_apart_and_drawn_from_the_seed(lungs):
    sites = nodule_sites(lungs, SPACING, DIAMETERS, seed=3)
    assert sites == nodule_sites(lungs, SPACING, DIAMETERS, seed=3) != nodule_sites(lungs, SPACING, DIAMETERS, seed=4)
    assert [nodule.diameter_mm for nodule in sites] == list(DIAMETERS)
    for number, nodule in enumerate(sites):
        box, share = sphere_coverage(nodule, SHAPE, SPACING)
        assert lungs[box][share > 0].all()
        for other in sites[:number]:
            gap = math.dist(nodule.centre, other.centre) * SPACING - (nodule.diameter_mm + other.diameter_mm) / 2
            assert gap >= 15


def test_without_room_there_is_no_nodule(lungs):
    assert nodule_sites(lungs, SPACING, (80.0,)) == [None]
    nothing = torch.full(SHAPE, -800.0)
    assert torch.equal(plant(nothing, [None], SPACING), nothing)


@pytest.fixture
def planted(lungs):
    volume = torch.where(lungs, -850.0, 40.0)
    sites = nodule_sites(lungs, SPACING, DIAMETERS)
    return volume, plant(volume, sites, SPACING), sites


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.0, -0.2])
def test_what_is_left_is_what_was_kept(planted, kept):
    volume, with_nodules, sites = planted
    change = kept * (with_nodules - volume) + 37.0  # brighter everywhere, which is no nodule
    np.testing.assert_allclose(contrast_left(change, with_nodules - volume, sites, SPACING), kept, atol=1e-6)


def test_a_nodule_elsewhere_is_not_the_nodule(planted):
    volume, with_nodules, sites = planted
    moved = (with_nodules - volume).roll(16, 0)
    assert float(contrast_left(moved, with_nodules - volume, sites[:2], SPACING).abs().max()) < 0.1
    assert contrast_left(moved, with_nodules - volume, [None], SPACING).isnan().all()


def test_the_shadow_of_a_nodule_is_its_diameter_times_its_density():
    grid, view = VolumeGrid(64, SPACING), preset("chest", (256, 256), ["parallel_pa"])
    water = torch.zeros(SHAPE)
    nodule = Nodule((31.5, 31.5, 31.5), 24.0)  # 40 HU in water: 4 % denser, on 24 of 160 mm
    lines = [project(hu_to_mu(v[None, None]), grid, view) for v in (plant(water, [nodule], SPACING), water)]
    assert float(shadow_contrast(*lines)) == pytest.approx(0.04 * 24 / 160, rel=0.03)
