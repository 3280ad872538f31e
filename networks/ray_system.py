"""Solve for the images whose back-projection makes a volume agree with its radiographs, by conjugate gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from drr import Beam, VolumeGrid, back_project, project


class RaySystem:
    """The operator M A A' M of one case on images: A casts rays through a volume, M keeps the rays that take part.

    Args:
        grid: grid of the volume.
        views: view objects.
        rays: whether each ray takes part (1, V, rows, columns), 1 or 0.
    """

    def __init__(self, grid: VolumeGrid, views: tuple[Beam, ...], rays: Tensor) -> None:
        self.grid = grid
        self.views = views
        self.rays = rays

    def project(self, mu: Tensor) -> Tensor:
        """Compute A: (1, 1, D, H, W) in 1/mm -> line integrals (1, V, rows, columns) of all rays."""
        return project(mu, self.grid, self.views)

    def back_project(self, images: Tensor) -> Tensor:
        """Compute A' M: (1, V, rows, columns) -> (1, 1, D, H, W)."""
        return back_project(self.rays * images, self.grid, self.views)

    def __call__(self, images: Tensor) -> Tensor:
        """Compute M A A' M: (1, V, rows, columns) -> the same shape."""
        return self.rays * self.project(self.back_project(images))

    @torch.no_grad()
    def scale(self) -> Tensor:
        """Measure the operator by its mean row sum over the rays that take part, in mm2.

        It grows with the size of the voxels and the density of the pixels as the operator's largest eigenvalues do, so
        a multiple of it means the same on every grid and detector.
        """
        return self(torch.ones_like(self.rays)).sum() / self.rays.sum().clamp(min=1)


def solve(system: RaySystem, images: Tensor, weight: Tensor, iterations: int, tolerance: float) -> Tensor:
    """Solve (M A A' M + weight) x = images by conjugate gradients.

    The gradient reaches `images` and `weight`, by another solution and not through the iterations.

    Args:
        system: the operator.
        images: (1, V, rows, columns), 0 where a ray takes no part.
        weight: lambda, a positive scalar in mm2.
        iterations: most iterations.
        tolerance: norm of what remains, relative to that of `images`, at which they end.

    Returns:
        (1, V, rows, columns), the same bits on every run.
    """
    found: Tensor = _Solution.apply(images, weight, system, iterations, tolerance)
    return found


class _Solution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, system: RaySystem, iterations: int, tolerance: float
    ) -> Tensor:
        found = _conjugate_gradients(system, images, weight, iterations, tolerance)
        ctx.save_for_backward(found, weight)
        ctx.arguments = (system, iterations, tolerance)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found, weight = ctx.saved_tensors
        system, iterations, tolerance = ctx.arguments
        # The operator is symmetric, so its inverse is its own adjoint.
        of_images = _conjugate_gradients(system, system.rays * gradient, weight, iterations, tolerance)
        return of_images, -_dot(of_images, found).to(weight.dtype), None, None, None


def _conjugate_gradients(
    system: RaySystem, images: Tensor, weight: Tensor, iterations: int, tolerance: float
) -> Tensor:
    found = torch.zeros_like(images)
    remains = direction = images
    squared = _dot(remains, remains)
    enough = tolerance**2 * squared
    for _ in range(iterations):
        if bool(squared <= enough):
            break
        step = system(direction) + weight * direction
        length = squared / _dot(direction, step)
        found = found + length.to(found.dtype) * direction
        remains = remains - length.to(found.dtype) * step
        before, squared = squared, _dot(remains, remains)
        direction = remains + (squared / before).to(found.dtype) * direction
    return found


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot product in float64, which a sum over many pixels needs."""
    return (a.double() * b.double()).sum()
