"""The back-projector against the transpose of the projector's matrix, and derivatives of both against differences."""

import numpy as np
import pytest
import torch

from drr import ConeBeam, ParallelBeam, VolumeGrid, back_project, geometry_tensor, project

GRID = VolumeGrid((20, 26, 24), (12.0, 11.0, 10.0))
SHAPE = (22, 19)
CHEST = {"sdd": 1800, "sod": 1500, "detector_size": 435.2, "detector_shape": SHAPE}
NEAR = {"sdd": 900, "sod": 400, "detector_size": 600, "detector_shape": SHAPE}

VIEWS = {
    "pa": ConeBeam.pa(**CHEST),
    "ap": ConeBeam.ap(**NEAR),
    "left-lateral": ConeBeam.lateral(detector_side="left", **CHEST),
    "right-lateral": ConeBeam.lateral(detector_side="right", **NEAR),
    "oblique": ConeBeam.oblique(angle=25, tilt=12, **CHEST),
    "near-oblique": ConeBeam.oblique(angle=-60, tilt=-20, **NEAR),
    "fine-oblique": ConeBeam.oblique(angle=30, tilt=10, **{**NEAR, "detector_size": 90}),
    "steep": ConeBeam.oblique(angle=10, tilt=80, **CHEST),
    "from-the-side-of-the-detector": ConeBeam.pa(**CHEST).moved((15, 4, -9)).mirrored(),
    "turned-detector": ConeBeam(
        source=(0, 1500, 0),
        detector_centre=(0, -300, 0),
        column_step=(0, 0, -20),
        row_step=(18, 0, 0),
        detector_shape=SHAPE,
    ),
    "parallel-pa": ParallelBeam.pa(detector_size=300, detector_shape=SHAPE),
    "parallel-lateral": ParallelBeam.lateral(detector_size=300, detector_shape=SHAPE),
    "parallel-oblique": ParallelBeam.oblique(angle=25, tilt=12, detector_size=300, detector_shape=SHAPE),
    "matched-parallel": ParallelBeam(
        direction=(0, -1, 0),
        detector_centre=(0, 0, 0),
        column_step=(10, 0, 0),
        row_step=(0, 0, -12),
        detector_shape=(20, 24),
    ),
}
ALL = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())


def random(*shape, dtype=torch.float64):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def test_matched_parallel_beam_is_the_sum_of_voxels():
    mu = random(1, 1, *GRID.shape)
    expected = mu.numpy()[0, 0].sum(axis=1) * 11.0
    for backend in ("reference", "eager", "compiled"):
        image = project(mu, GRID, [VIEWS["matched-parallel"]], backend)[0, 0]
        np.testing.assert_allclose(image, expected, rtol=1e-12)


@ALL
def test_against_the_transpose_of_the_matrix(view):
    """Column by column, the projections of single voxels are the matrix; its transpose is the back-projector."""
    grid = VolumeGrid((4, 5, 6), (48.0, 52.0, 44.0))
    volumes = torch.eye(120, dtype=torch.float64).view(120, 1, 4, 5, 6)
    matrix = project(volumes, grid, [view], "reference").flatten(1)
    image = random(1, 1, *view.detector_shape)
    expected = (matrix @ image.flatten()).view(1, 1, 4, 5, 6)
    for backend in ("reference", "eager"):
        torch.testing.assert_close(back_project(image, grid, [view], backend), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("view", "backend"),
    [
        *((view, "eager") for view in VIEWS.values()),
        (VIEWS["pa"], "auto"),
        (VIEWS["oblique"], "auto"),
        (VIEWS["parallel-oblique"], "compiled"),
    ],
    ids=[*VIEWS, "pa-auto", "oblique-auto", "parallel-oblique-compiled"],
)
def test_adjoint(view, backend, device):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        volume = random(2, 1, *GRID.shape, dtype=dtype).to(device)
        image = random(2, 1, *view.detector_shape, dtype=dtype).to(device)
        forward = (project(volume, GRID, [view], backend).double() * image.double()).sum()
        back = (volume.double() * back_project(image, GRID, [view], backend).double()).sum()
        assert float((forward - back).abs() / forward.abs()) <= tolerance


@ALL
def test_backward_is_the_same_bits_twice(view, device):
    image = random(1, 1, *view.detector_shape, dtype=torch.float32).to(device)
    for backend in ("eager", "compiled") if view is VIEWS["oblique"] else ("eager",):
        assert torch.equal(back_project(image, GRID, [view], backend), back_project(image, GRID, [view], backend))


def test_several_views_and_volumes_add_up():
    views = [VIEWS["pa"], VIEWS["oblique"], VIEWS["left-lateral"]]
    images = random(2, 3, *SHAPE)
    together = back_project(images, GRID, views, "eager")
    alone = sum(back_project(images[:, i : i + 1], GRID, [view], "eager") for i, view in enumerate(views))
    torch.testing.assert_close(together, alone)
    per_case = geometry_tensor(views, torch.float64).expand(2, -1, -1, -1)
    torch.testing.assert_close(back_project(images, GRID, per_case, "eager"), together)


def small():
    grid = VolumeGrid((5, 6, 7), 40.0)
    views = [ConeBeam.oblique(angle=20, tilt=5, sdd=1800, sod=1500, detector_shape=(4, 5))]
    views.append(ConeBeam.pa(sdd=1800, sod=1500, detector_shape=(4, 5)).moved((3.1, 2.3, 4.7)))
    return grid, geometry_tensor(views, torch.float64)


def test_derivatives_of_both_in_everything():
    grid, geometry = small()
    geometry.requires_grad_()
    mu, image = random(2, 1, *grid.shape).requires_grad_(), random(2, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, g: project(m, grid, g, "eager", (4, 5)), (mu, geometry))
    assert torch.autograd.gradcheck(lambda y, g: back_project(y, grid, g, "eager"), (image, geometry), atol=1e-4)


def test_second_derivatives_in_the_volume():
    grid, geometry = small()
    mu, image = random(1, 1, *grid.shape).requires_grad_(), random(1, 2, 4, 5).requires_grad_()
    square = lambda m: project(m, grid, geometry, "eager", (4, 5)) ** 2  # noqa: E731
    assert torch.autograd.gradgradcheck(square, (mu,))
    assert torch.autograd.gradgradcheck(lambda y: back_project(y, grid, geometry, "eager") ** 2, (image,), atol=1e-4)


def test_second_derivatives_in_the_geometry_are_refused():
    grid, geometry = small()
    geometry.requires_grad_()
    image = project(random(1, 1, *grid.shape), grid, geometry, detector_shape=(4, 5))
    (slope,) = torch.autograd.grad((image**2).sum(), geometry, create_graph=True)
    with pytest.raises(NotImplementedError, match="differentiate once"):
        slope.sum().backward()


def test_geometry_gradient_is_the_references(device):
    views = [VIEWS["pa"], VIEWS["oblique"], VIEWS["parallel-pa"]]
    geometry = geometry_tensor(views, torch.float64)
    volume, weight = random(2, 1, *GRID.shape).to(device), random(2, 3, *SHAPE).to(device)
    gradients = []
    for backend in ("reference", "eager"):
        varied = geometry.clone().requires_grad_()
        (project(volume, GRID, varied, backend, SHAPE) * weight).sum().backward()
        gradients.append(varied.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-9)
