"""The projector against exact line integrals: a thorax of ellipsoids whose chords are known in closed form.

What voxels cannot show limits every projector: at 2.5 mm each correct one is about 1.4 % off the exact integrals, at
1.25 mm 0.7 %. A wrong one shows above that. The truth is taken at the centre of each pixel, as the projectors do.
"""

import numpy as np
import pytest
import torch

from drr import ConeBeam, VolumeGrid, geometry_tensor, project
from tests.drr_phantom import CUBE_MM, ELLIPSOIDS, ellipsoid, line_integrals, turned, voxelise

RMSE_LIMIT = {128: 1.5e-2, 256: 8e-3}
"""Highest relative RMSE against the exact integrals, by voxels a side of the 320 mm cube."""

FLOOR = {
    (128, 128): (1.4054e-2, 1.3773e-2, 1.3766e-2),
    (128, 256): (1.3757e-2, 1.3359e-2, 1.3695e-2),
    (256, 128): (7.4256e-3, 7.3209e-3, 6.9226e-3),
    (256, 256): (6.6523e-3, 6.5157e-3, 6.8053e-3),
}
"""Relative RMSE of Joseph's method on these voxels, by (voxels, pixels) a side, for the PA, lateral and oblique view.
Computed with ITK's ray caster, which does not share a line with ours."""

FLOOR_DIGITS = 1e-3
"""How far the reference may be off its floor, relative to it: three digits."""

FAST_EXCESS = 0.01
"""How much worse than the float64 reference the default path may be in float32, relative to the reference's error."""

VOXEL_SUM_TOLERANCE = 1e-4
"""How far the voxels' total may be off that of the ellipsoids, relative to it: what 8^3 points a voxel leave."""

QUADRATURE_TOLERANCE = 2e-4
"""How far the chords may be off sums along the rays at 0.02 mm, relative to the largest integral."""

VIEW_NAMES = ("pa", "lateral", "oblique")


def views(pixels):
    """PA, lateral and oblique: the PA turned by 25 degrees about z, then by 12 about x; (1, 3, 4, 3) float64."""
    numbers = {"sdd": 1800.0, "sod": 1500.0, "detector_size": 435.2, "detector_shape": (pixels, pixels)}
    square = [ConeBeam.pa(**numbers), ConeBeam.lateral(detector_side="left", **numbers)]
    rotation = torch.from_numpy(turned(0, 12.0) @ turned(2, 25.0))
    oblique = geometry_tensor(square[:1], torch.float64) @ rotation.T
    return torch.cat([geometry_tensor(square, torch.float64), oblique], dim=1)


def relative_rmse(image, truth):
    return np.sqrt(np.mean((image - truth) ** 2) / np.mean(truth**2))


@pytest.fixture(scope="module", params=[128, pytest.param(256, marks=pytest.mark.slow)], ids=lambda n: f"{n}^3")
def voxels(request):
    """The thorax on a grid (1, 1, D, H, W), float64."""
    return torch.from_numpy(voxelise(request.param))[None, None]


@pytest.fixture(scope="module", params=[128, 256], ids=lambda m: f"{m}^2")
def case(request, voxels):
    """The grid, the geometry, the exact images (3, rows, columns) and those of the float64 reference."""
    pixels, n = request.param, voxels.shape[-1]
    grid, geometry = VolumeGrid((n, n, n), CUBE_MM / n), views(pixels)
    exact = np.stack([line_integrals(view, (pixels, pixels)) for view in geometry[0]])
    reference = project(voxels, grid, geometry, backend="reference", detector_shape=(pixels, pixels))[0].numpy()
    return grid, geometry, exact, reference


def test_the_reference_sits_at_the_voxelisation_floor(case):
    grid, _, exact, reference = case
    floors = FLOOR[grid.shape[0], exact.shape[-1]]
    for name, image, truth, floor in zip(VIEW_NAMES, reference, exact, floors, strict=True):
        error = relative_rmse(image, truth)
        assert error <= RMSE_LIMIT[grid.shape[0]], name
        assert error == pytest.approx(floor, rel=FLOOR_DIGITS), name


def test_the_default_path_in_float32_is_no_worse(case, voxels, device):
    grid, geometry, exact, reference = case
    images = project(voxels.float().to(device), grid, geometry, backend="auto", detector_shape=exact.shape[1:])[0]
    for name, image, truth, slow in zip(VIEW_NAMES, images.double().cpu().numpy(), exact, reference, strict=True):
        error = relative_rmse(image, truth)
        assert error <= RMSE_LIMIT[grid.shape[0]], name
        assert error <= (1 + FAST_EXCESS) * relative_rmse(slow, truth), name


def test_the_voxels_hold_what_the_ellipsoids_hold(voxels):
    mu = voxels[0, 0].numpy()
    assert len(ELLIPSOIDS) >= 40
    assert all((np.abs(part.centre) + part.half_extent).max() < CUBE_MM / 2 for part in ELLIPSOIDS)
    assert mu.min() >= 0
    assert 0.05 < mu.max() <= 0.0551
    total = sum(part.mu * part.volume for part in ELLIPSOIDS)
    assert mu.sum() * (CUBE_MM / len(mu)) ** 3 == pytest.approx(total, rel=VOXEL_SUM_TOLERANCE)


def test_voxels_and_ellipsoids_lie_at_the_same_place():
    parts = [ellipsoid(0.02, (61, -42, 73), (30, 20, 25), turned(1, 30))]  # to the left, in front, towards the head
    mu = voxelise(64, parts)
    positions = (np.arange(64) - 31.5) * CUBE_MM / 64
    centre = [np.tensordot(mu.sum(axis=axes), positions, 1) / mu.sum() for axes in ((1, 2), (0, 2), (0, 1))]
    np.testing.assert_allclose(centre, (-73, -42, 61), atol=0.05)  # D runs to the feet, H to the back, W to the left


def test_chords_against_sums_along_the_rays():
    """The closed form against 0.02 mm steps from point to point, which know of ellipsoids only inside and outside."""
    geometry = views(128)[0]
    picked = [(64, 64), (30, 50), (90, 85), (75, 40), (20, 70)]
    depth = (np.arange(25_000) + 0.5) * 0.02 - 250.0  # mm along the ray, from the isocentre's distance
    for view in geometry:
        source, centre, column_step, row_step = view.numpy()
        exact = line_integrals(view, (128, 128))
        for row, column in picked:
            ray = centre + (row - 63.5) * row_step + (column - 63.5) * column_step - source
            points = source + (np.linalg.norm(source) + depth[:, None]) * ray / np.linalg.norm(ray)
            mu = np.zeros(len(points))
            for part in ELLIPSOIDS:
                mu += part.mu * (np.sum(((points - part.centre) @ part.to_unit.T) ** 2, axis=1) <= 1)
            assert mu.sum() * 0.02 == pytest.approx(exact[row, column], abs=QUADRATURE_TOLERANCE * exact.max())
