"""The projector of one call as a linear operator with its adjoint, and both as autograd functions.

The gradient of a projection is the back-projection, and vice versa, so each is differentiable any number of times with
respect to the volume and the image. Since <A x, y> = <x, A' y>, both have the same gradient with respect to the
geometry, which `_GeometryGradient` computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import FunctionCtx

from .general import (
    back_project_slices,
    can_compile,
    give_up_compiling,
    line_derivatives,
    project_compiled,
    project_slices,
)
from .grid import VolumeGrid
from .separable import back_project_separable, project_separable
from .slices import SliceMaps


@dataclass(frozen=True)
class BatchProjector:
    """The operator A of a batch: each volume is projected in the views of its case.

    Args:
        grid: the volume's grid.
        cases: slice maps of the views of each volume, or one tuple for all volumes.
        backend: "auto", "eager" or "compiled".
    """

    grid: VolumeGrid
    cases: tuple[tuple[SliceMaps, ...], ...]
    backend: str

    def case(self, number: int) -> tuple[SliceMaps, ...]:
        """Return the views of a volume."""
        return self.cases[number if len(self.cases) > 1 else 0]

    def project(self, volumes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Compute A x: (B, D, H, W) -> (B, views, rows, columns) in `dtype`."""
        images = [
            torch.stack([self._project_one(volume, maps, dtype) for maps in self.case(i)])
            for i, volume in enumerate(volumes)
        ]
        return torch.stack(images)

    def back_project(self, images: torch.Tensor) -> torch.Tensor:
        """Compute the exact adjoint A' y: (B, views, rows, columns) -> (B, D, H, W)."""
        volumes = torch.empty(len(images), *self.grid.shape, dtype=images.dtype, device=images.device)
        for i, volume in enumerate(volumes):
            for number, (image, maps) in enumerate(zip(images[i], self.case(i), strict=True)):
                self._back_project_one(volume, image, maps, add=number > 0)
        return volumes

    def _project_one(self, volume: torch.Tensor, maps: SliceMaps, dtype: torch.dtype) -> torch.Tensor:
        if self._compiles(volume.device, on_cpu=False):
            try:  # torch imports `_dynamo`, which takes as long as torch itself, where it is first named
                return project_compiled(volume, maps, dtype)
            except torch._dynamo.exc.BackendCompilerFailed as error:
                self._give_up(volume.device, error)
        return (project_separable if maps.separable else project_slices)(volume, maps, dtype)

    def _back_project_one(self, volume: torch.Tensor, image: torch.Tensor, maps: SliceMaps, add: bool) -> None:
        separably = maps.separable and not self._compiles(volume.device, on_cpu=False)
        if not separably and self._compiles(volume.device, on_cpu=True):
            try:
                return back_project_slices(volume, image, maps, add, compiled=True)
            except torch._dynamo.exc.BackendCompilerFailed as error:
                self._give_up(volume.device, error)
        if maps.separable:
            return back_project_separable(volume, image, maps, add)
        return back_project_slices(volume, image, maps, add, compiled=False)

    def _compiles(self, device: torch.device, on_cpu: bool) -> bool:
        """Return whether to use a compiled kernel; `on_cpu` states whether it pays on a CPU too.

        There it pays for the gather alone, which is 10 times as fast compiled, while PyTorch's own interpolation is as
        fast as a compiled one.
        """
        if self.backend == "auto":
            return (on_cpu or device.type != "cpu") and can_compile(device.type)
        return self.backend == "compiled"

    def _give_up(self, device: torch.device, error: Exception) -> None:
        if self.backend == "compiled":
            raise error
        give_up_compiling(device.type, error)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, volumes: torch.Tensor, lines: torch.Tensor | None, projector: BatchProjector, dtype: torch.dtype
    ) -> torch.Tensor:
        ctx.projector = projector
        ctx.save_for_backward(volumes if lines is not None else None, lines)
        return projector.project(volumes, dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads
        volumes, lines = ctx.saved_tensors
        for_volumes = apply_adjoint(grad, lines, ctx.projector) if ctx.needs_input_grad[0] else None
        for_lines = _GeometryGradient.apply(volumes, grad, lines, ctx.projector) if ctx.needs_input_grad[1] else None
        return for_volumes, for_lines, None, None


class _BackProject(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, lines: torch.Tensor | None, projector: BatchProjector) -> torch.Tensor:
        ctx.projector = projector
        ctx.save_for_backward(images if lines is not None else None, lines)
        return projector.back_project(images)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = grads
        images, lines = ctx.saved_tensors
        for_images = apply(grad, lines, ctx.projector, grad.dtype) if ctx.needs_input_grad[0] else None
        for_lines = _GeometryGradient.apply(grad, images, lines, ctx.projector) if ctx.needs_input_grad[1] else None
        return for_images, for_lines, None


class _GeometryGradient(torch.autograd.Function):
    """Gradient of <A x, y> with respect to the numbers of the rays, (cases, views, 5, rows, columns)."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, volumes: torch.Tensor, images: torch.Tensor, lines: torch.Tensor, projector: BatchProjector
    ) -> torch.Tensor:
        result = torch.zeros_like(lines)
        for i, (volume, image) in enumerate(zip(volumes, images, strict=True)):
            case = i if len(lines) > 1 else 0
            for view, maps in enumerate(projector.case(i)):
                result[case, view] += line_derivatives(volume, image[view], maps, lines[case, view], images.dtype)
        return result

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: torch.Tensor) -> tuple[None, ...]:
        raise NotImplementedError(
            "second derivatives with respect to the geometry are not implemented: differentiate once, or take finite "
            "differences of the gradient"
        )


def apply(
    volumes: torch.Tensor, lines: torch.Tensor | None, projector: BatchProjector, dtype: torch.dtype
) -> torch.Tensor:
    """Project, differentiably: A x.

    Args:
        volumes: (B, D, H, W).
        lines: (cases, views, 5, rows, columns) as `SliceMaps.lines` gives them; None where no gradient with respect to
            the geometry is wanted.
        projector: the operator A.
        dtype: dtype of the result.

    Returns:
        (B, views, rows, columns).
    """
    return _Project.apply(volumes, lines, projector, dtype)


def apply_adjoint(images: torch.Tensor, lines: torch.Tensor | None, projector: BatchProjector) -> torch.Tensor:
    """Back-project, differentiably: A' y, (B, views, rows, columns) -> (B, D, H, W). Arguments as in `apply`."""
    return _BackProject.apply(images, lines, projector)
