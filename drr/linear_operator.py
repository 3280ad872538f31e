"""The projector of one call as a linear operator with its adjoint, and both as autograd functions.

The gradient of a projection is the back-projection and the other way round, so each is differentiable as often as one
likes in the volume and the image. Both are linear in them, and <A x, y> = <x, A' y>; so the gradient in the geometry is
the same for both and is computed once, by `_GeometryGradient`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch._dynamo.exc import BackendCompilerFailed
from torch.autograd.function import FunctionCtx

from .fused import (
    back_project_slices,
    can_compile,
    give_up_compiling,
    line_derivatives,
    project_compiled,
    project_slices,
)
from .grid import VolumeGrid
from .rows import back_project_rows, project_rows
from .slices import SliceMaps


@dataclass(frozen=True)
class BatchProjector:
    """A, for a batch: each volume in the views of its case.

    Args:
        grid: the volume's grid.
        cases: the views of each volume, or one tuple of views for all.
        backend: "auto", "eager" or "compiled".
    """

    grid: VolumeGrid
    cases: tuple[tuple[SliceMaps, ...], ...]
    backend: str

    def case(self, number: int) -> tuple[SliceMaps, ...]:
        """The views of a volume."""
        return self.cases[number if len(self.cases) > 1 else 0]

    def project(self, volumes: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(B, D, H, W) -> (B, views, rows, columns) in `dtype`."""
        images = [
            torch.stack([self._project_one(volume, maps, dtype) for maps in self.case(i)])
            for i, volume in enumerate(volumes)
        ]
        return torch.stack(images)

    def back_project(self, images: torch.Tensor) -> torch.Tensor:
        """(B, views, rows, columns) -> (B, D, H, W), the exact adjoint."""
        volumes = torch.empty(len(images), *self.grid.shape, dtype=images.dtype, device=images.device)
        for i, volume in enumerate(volumes):
            for number, (image, maps) in enumerate(zip(images[i], self.case(i), strict=True)):
                self._back_project_one(volume, image, maps, add=number > 0)
        return volumes

    def _project_one(self, volume: torch.Tensor, maps: SliceMaps, dtype: torch.dtype) -> torch.Tensor:
        if self._compiles(volume.device, on_cpu=False):
            try:
                return project_compiled(volume, maps, dtype)
            except BackendCompilerFailed as error:
                self._give_up(volume.device, error)
        return (project_rows if maps.separable else project_slices)(volume, maps, dtype)

    def _back_project_one(self, volume: torch.Tensor, image: torch.Tensor, maps: SliceMaps, add: bool) -> None:
        by_rows = maps.separable and not self._compiles(volume.device, on_cpu=False)
        if not by_rows and self._compiles(volume.device, on_cpu=True):
            try:
                return back_project_slices(volume, image, maps, add, compiled=True)
            except BackendCompilerFailed as error:
                self._give_up(volume.device, error)
        if maps.separable:
            return back_project_rows(volume, image, maps, add)
        return back_project_slices(volume, image, maps, add, compiled=False)

    def _compiles(self, device: torch.device, on_cpu: bool) -> bool:
        """Whether to use a compiled kernel, on a CPU too or on a GPU only.

        On a CPU only the gather is worth it: it is 10 times as fast compiled, while PyTorch's own interpolation is as
        fast as a compiled one.
        """
        if self.backend == "auto":
            return (on_cpu or device.type != "cpu") and can_compile(device.type)
        return self.backend == "compiled"

    def _give_up(self, device: torch.device, error: BackendCompilerFailed) -> None:
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
    """Gradient of <A x, y> in the numbers of the rays, (cases, views, 5, rows, columns)."""

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
            "second derivatives that involve the geometry are not there: differentiate once in the views, or take "
            "finite differences of the gradient"
        )


def apply(
    volumes: torch.Tensor, lines: torch.Tensor | None, projector: BatchProjector, dtype: torch.dtype
) -> torch.Tensor:
    """A x, differentiable.

    Args:
        volumes: (B, D, H, W).
        lines: (cases, views, 5, rows, columns) as `SliceMaps.lines` gives them; where their gradient is wanted.
        projector: A.
        dtype: of the result.

    Returns:
        (B, views, rows, columns).
    """
    return _Project.apply(volumes, lines, projector, dtype)


def apply_adjoint(images: torch.Tensor, lines: torch.Tensor | None, projector: BatchProjector) -> torch.Tensor:
    """A' y, differentiable: (B, views, rows, columns) -> (B, D, H, W). Arguments as of `apply`."""
    return _BackProject.apply(images, lines, projector)
