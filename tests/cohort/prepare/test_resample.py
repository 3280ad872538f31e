"""Scans on straight axes against MONAI's resampling, and against a function whose values are known everywhere."""

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialResample
from scipy.ndimage import binary_erosion

from cohort.prepare.resample import resample, straight_grid


def leaning(shape=(30, 26, 40), spacing=(1.5, 1.2, 2.0), degrees=7.0):
    """A scan whose slices lean, and that does not begin at the origin."""
    angle = np.deg2rad(degrees)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), 0], [0, np.sin(angle), 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = (-20, 31, -7)
    return shape, affine


def positions(shape, affine):
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def test_a_linear_function_keeps_its_values_in_the_patient_frame():
    shape, affine = leaning()
    slope = np.array([3.0, -5.0, 2.0])
    volume = (positions(shape, affine) @ slope).astype(np.float32)
    grid, centre = straight_grid(shape, affine, 1.1)
    made, target = resample(volume, affine, grid, centre)
    inner = (
        np.linalg.inv(affine)
        @ np.concatenate([positions(grid.shape, target).reshape(-1, 3), np.ones((made.size, 1))], 1).T
    )
    inside = np.all((inner[:3].T > 1) & (np.array(shape) - 2 > inner[:3].T), 1).reshape(made.shape)
    assert inside.mean() > 0.5
    expected = positions(grid.shape, target) @ slope
    assert np.abs(made - expected)[inside].max() < 0.51 + 1.2  # rounding, and the linear function between whole HU


def test_it_is_monais_trilinear_where_the_grid_is_finer():
    shape, affine = leaning()
    volume = np.random.default_rng(0).normal(0, 300, shape).astype(np.float32)
    grid, centre = straight_grid(shape, affine, 1.0)
    made, target = resample(volume, affine, grid, centre)
    moved = MetaTensor(torch.from_numpy(volume + 1024)[None], affine=affine)
    theirs = (
        SpatialResample(mode="bilinear", padding_mode="zeros", align_corners=False, dtype=torch.float64)(
            moved, dst_affine=target, spatial_size=grid.shape
        )[0].numpy()
        - 1024
    )
    inner = theirs > -1000  # they blend into the padding at the border
    assert np.abs(made - theirs)[binary_erosion(inner, iterations=3)].max() < 0.51


def test_the_grid_covers_the_scan_and_runs_to_feet_back_and_left():
    shape, affine = leaning()
    grid, centre = straight_grid(shape, affine, 2.0)
    made, target = resample(np.zeros(shape, np.float32), affine, grid, centre)
    assert made.shape == grid.shape
    np.testing.assert_allclose(target[:3, :3], [[0, 0, -2], [0, -2, 0], [-2, 0, 0]])
    covered = (made == 0).sum() * 8
    assert abs(covered / (np.prod(shape) * 1.5 * 1.2 * np.cos(np.deg2rad(7)) * 2) - 1) < 0.15
    assert (made == -1024).any()  # the corners that the leaning scan leaves
