import numpy as np
import pytest
import torch

from metrics import lung_volumes, split_lungs
from readers import lung_mask
from tests import chest_model as model

SPACING = 4.0


def volumes(kind):
    """Volumes in ml as they are measured in a chest made of ellipsoids."""
    mask = torch.from_numpy(lung_mask(model.voxels(kind, SPACING), SPACING))
    return {name: float(value) for name, value in lung_volumes(mask[None, None], SPACING).items()}


def smaller_left(points):
    """Return a chest whose left lung is 0.8 of its size along each axis: 0.512 of its volume."""
    hu = np.where(model.ellipsoid(points, np.zeros(3), model.BODY), model.TISSUE, model.AIR)
    small = tuple(0.8 * half for half in model.HALF)
    hu[model.ellipsoid(points, model.RIGHT, model.HALF) | model.ellipsoid(points, model.LEFT, small)] = model.LUNG
    return hu


def test_right_left_and_total_are_those_of_the_ellipsoids():
    found = volumes(smaller_left)
    half = model.LUNGS_ML / 2
    assert found["lung_right_ml"] == pytest.approx(half, rel=0.03)
    assert found["lung_left_ml"] == pytest.approx(0.512 * half, rel=0.03)
    assert found["lung_total_ml"] == pytest.approx(1.512 * half, rel=0.03)


def test_lungs_that_the_bronchi_join_come_apart():
    found = volumes(model.with_windpipe)
    assert found["lung_right_ml"] == pytest.approx(model.LUNGS_ML / 2, rel=0.08)  # the trachea adds to one of them
    assert found["lung_left_ml"] == pytest.approx(model.LUNGS_ML / 2, rel=0.08)


def test_a_lung_alone_is_on_its_side():
    found = volumes(model.with_one_lung)
    sides = sorted([found["lung_right_ml"], found["lung_left_ml"]])
    assert sides[0] == 0
    assert sides[1] == pytest.approx(model.LUNGS_ML / 2, rel=0.03)


def test_without_lungs_there_is_no_volume():
    nothing = torch.zeros(1, 1, 8, 8, 8, dtype=torch.bool)
    assert all(float(value) == 0 for value in lung_volumes(nothing, SPACING).values())


def test_every_voxel_is_in_one_lung():
    mask = torch.from_numpy(lung_mask(model.voxels(model.with_windpipe, SPACING), SPACING))
    right, left = split_lungs(mask, SPACING)
    assert not (right & left).any()
    assert torch.equal(right | left, mask)
