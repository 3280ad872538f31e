"""A chest that was moved by a known motion, in closed form, is moved back by it."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from metrics import MOTION_MEASURES, RigidMotion, align_lungs, move
from readers import lung_mask
from tests import chest_model as model

SPACING = 4.0
SHIFT_MM, TURN_DEG = 0.5, 0.6
"""Limits within which a motion is found on voxels of 4 mm."""

MOTIONS = [
    ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
    ((12.0, -7.0, 9.0), (0.0, 0.0, 0.0)),
    ((0.0, 0.0, 0.0), (0.0, 0.0, 8.0)),
    ((-15.0, 10.0, -20.0), (6.0, -4.0, 5.0)),
]


def moved(kind, shift_mm, turn_deg):
    """Sample a chest after a turn about the origin and a shift, LPS: each voxel asks where it came from."""
    turn = Rotation.from_rotvec(turn_deg, degrees=True)
    points = model.positions(SPACING) - np.array(shift_mm)
    was = turn.inv().apply(points.reshape(-1, 3)).reshape(points.shape)
    return torch.from_numpy(kind(was).astype(np.float32))


def lungs(volume):
    return torch.from_numpy(lung_mask(volume.numpy(), SPACING))


@pytest.mark.parametrize(("shift", "turn"), MOTIONS)
@pytest.mark.parametrize("kind", [model.plain, model.with_windpipe], ids=lambda kind: kind.__name__)
def test_the_motion_is_found_and_undone(kind, shift, turn):
    truth, prediction = (moved(kind, *motion) for motion in (((0, 0, 0), (0, 0, 0)), (shift, turn)))
    found = align_lungs(lungs(prediction), lungs(truth), SPACING)
    back = Rotation.from_rotvec(turn, degrees=True).inv()
    np.testing.assert_allclose(found.shift_mm, -back.apply(shift), atol=SHIFT_MM)
    np.testing.assert_allclose(found.turn_deg, back.as_rotvec(degrees=True), atol=TURN_DEG)
    assert len(found.numbers()) == len(MOTION_MEASURES)
    again, covered = move(prediction, found, SPACING)
    error = (again - truth)[covered].abs().mean()
    assert error < 14  # of linear interpolation at borders of 1,000 HU
    if any(shift) or any(turn):
        assert error < (prediction - truth)[covered].abs().mean() / 3


def test_another_shape_of_the_lungs_moves_nothing_far():
    """A consolidated base changes the mask of one lung and not where the lungs lie."""
    found = align_lungs(*(lungs(moved(kind, (0, 0, 0), (0, 0, 0))) for kind in (model.with_dense_base, model.plain)), 4)
    assert np.abs(found.shift_mm).max() < 2
    assert np.abs(found.turn_deg).max() < 2


def test_what_came_from_outside_is_air_and_not_covered():
    volume = torch.full((10, 10, 10), 40.0)
    again, covered = move(volume, RigidMotion((5.0, 0.0, 0.0), (0.0, 0.0, 0.0)), 2.5)
    assert (again[..., :2] == -1024).all()
    assert not covered[..., :2].any()
    assert (again[..., 2:] == 40).all()
    assert covered[..., 2:].all()


def test_without_lungs_there_is_no_motion():
    empty = torch.zeros(8, 8, 8, dtype=torch.bool)
    assert align_lungs(empty, ~empty, 4.0) is None
    assert align_lungs(~empty, empty, 4.0) is None
