"""Describe how the rays of a view cross the slices of a volume, the basis of every fast projector.

A pixel (row, column) and the point where its ray meets slice k of the volume are related by a homography, and the
homographies of successive slices differ by a constant matrix: (u, v, 1) ~ (start + k step) (row, column, 1), with u and
v the indices across the slice. Everything else follows from these two matrices: the position of each ray, whether rows
and columns can be treated apart, and which pixels a voxel touches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch

from conventions import AXIS_DIRECTIONS_LPS, InputError

from .geometry import AT_INFINITY_MM
from .grid import VolumeGrid

T = TypeVar("T")

TIE = 1e-9
"""Largest relative difference at which two axes are equally good to march along."""

FLATTEST = 1e-3
"""Smallest advance of a ray along the marching axis in voxels, relative to the fastest one."""

NEGLIGIBLE = 1e-9
"""Largest distance in voxels by which a ray may stray while its row and its column count as independent."""

BLOCK_SHARE = 12
"""Ratio of a volume's memory to that of a block of slices: the fast paths work on one block at a time."""

SMALLEST_BLOCK = 2**16
"""Smallest number of elements in a block; smaller blocks would cost more time than they save memory."""

CACHE_LINE = 16
"""Number of float32 in a line of the processor's cache."""


def is_parallel(view: torch.Tensor) -> bool:
    """Return whether a view (4, 3) has its source at infinity, as `geometry_tensor` writes a `ParallelBeam`."""
    return float((view[0] - view[1]).detach().norm()) > AT_INFINITY_MM


def dominant_axis(corner_rays: torch.Tensor, spacing: torch.Tensor) -> int:
    """Choose the axis (of D, H, W) to march along: the one along which every ray of the view crosses the most voxels.

    Args:
        corner_rays: directions of the rays to the detector's corners, (N, 3) in mm; all others lie between them.
        spacing: spacing of the voxels in mm, (3).

    Returns:
        The axis; the first one where several are equal, as at 45 degrees.

    Raises:
        InputError: where the cone is so wide that along every axis some ray turns back or runs across.
    """
    voxels = corner_rays.detach() / spacing
    voxels = voxels / voxels.abs().amax()
    one_way = (voxels > 0).all(dim=0) | (voxels < 0).all(dim=0)
    fewest = voxels.abs().amin(dim=0) * one_way
    best = float(fewest.max())
    if best < FLATTEST:
        raise InputError(
            "the cone is too wide: along every axis of the volume some of its rays run across; enlarge sod"
        )
    return int(torch.nonzero(fewest >= best * (1 - TIE))[0])


@dataclass(frozen=True, eq=False)
class SliceMaps:
    """Homographies of one view. Tensors are float64, so that positions stay exact to 1e-12 voxels.

    Args:
        along: axis (of D, H, W) that is marched along.
        shape: voxels along (slices, u, v).
        detector_shape: (rows, columns).
        start: homography (3, 3) from (row, column, 1) to (u, v, 1) on slice 0.
        step: matrix (3, 3) that is added from slice to slice; its last row is zero.
        length: length of each ray between two slices in mm, (rows, columns).
    """

    along: int
    shape: tuple[int, int, int]
    detector_shape: tuple[int, int]
    start: torch.Tensor
    step: torch.Tensor
    length: torch.Tensor
    _kept: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return a table of this view, made at the first call and kept as long as the view's maps are."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @property
    def across(self) -> tuple[int, int]:
        """Axes (of D, H, W) across the slices, u and v."""
        u, v = (axis for axis in range(3) if axis != self.along)
        return u, v

    def detached(self) -> SliceMaps:
        """Return the same numbers without their gradient."""
        return replace(self, start=self.start.detach(), step=self.step.detach(), length=self.length.detach())

    def blocks(self, per_slice: int) -> Iterator[tuple[int, int]]:
        """Cut the slices into blocks whose working memory is small compared with the volume's.

        Args:
            per_slice: number of elements that one slice needs.

        Yields:
            First slice and number of slices of each block.
        """
        slices = self.shape[0]
        count = max(1, max(SMALLEST_BLOCK, math.prod(self.shape) // BLOCK_SHARE) // per_slice)
        if self.along == 2 and count > CACHE_LINE:  # slices of W lie side by side: whole lines are read once
            count -= count % CACHE_LINE
        for first in range(0, slices, count):
            yield first, min(count, slices - first)

    def lines(self) -> torch.Tensor:
        """Return every ray as numbers: (5, rows, columns) with u and v on slice 0, their steps, and the length."""
        rows, columns = (torch.arange(n, dtype=self.start.dtype, device=self.start.device) for n in self.detector_shape)
        numerators = (self.start[0], self.start[1], self.step[0], self.step[1], self.start[2])
        u, v, u_step, v_step, w = (a * rows[:, None] + (b * columns + c) for a, b, c in numerators)
        return torch.stack([u / w, v / w, u_step / w, v_step / w, self.length])

    @cached_property
    def separable(self) -> bool:
        """Whether u depends on one detector axis only and v on the other, as for PA and lateral."""
        return self.pixel_axes is not None

    @cached_property
    def pixel_axes(self) -> tuple[int, int] | None:
        """Detector axes (0 rows, 1 columns) that u and v depend on; None where they are not separable."""
        rows, columns = self.detector_shape
        extent = torch.tensor([rows, columns], dtype=self.start.dtype, device=self.start.device)
        depth = float(self.start[2, 2].abs())
        reach = (self.start[:, :2].abs() + self.shape[0] * self.step[:, :2].abs()) * extent / depth
        # reach[2] is relative to the depth: it moves a ray by that fraction of its index.
        if float(reach[2].max()) * max(self.shape) > NEGLIGIBLE:
            return None
        for u, v in ((0, 1), (1, 0)):
            if float(reach[0, v]) <= NEGLIGIBLE and float(reach[1, u]) <= NEGLIGIBLE:
                return u, v
        return None

    def positions(self, across: int) -> torch.Tensor:
        """Find where a separable view's rays cross the slices along u (0) or v (1): (slices, pixels along its axis)."""
        assert self.pixel_axes is not None
        axis = self.pixel_axes[across]
        pixel = torch.arange(self.detector_shape[axis], dtype=self.start.dtype, device=self.start.device)
        first, step = (m[across, axis] * pixel + m[across, 2] for m in (self.start, self.step))
        slices = torch.arange(self.shape[0], dtype=self.start.dtype, device=self.start.device)
        return (first + slices[:, None] * step) / self.start[2, 2]

    def homographies(self) -> torch.Tensor:
        """Return the homographies from pixels to each slice: (slices, 3, 3), w = 1 at the detector's middle.

        Pixels and voxels are counted from the middle (`n // 2`), where float32 has most digits left for the fraction.
        """
        rows, columns = (n // 2 for n in self.detector_shape)
        u, v = (n // 2 for n in self.shape[1:])
        from_middle = self.start.new_tensor([[1, 0, rows], [0, 1, columns], [0, 0, 1]])
        to_middle = self.start.new_tensor([[1, 0, -u], [0, 1, -v], [0, 0, 1]])
        slices = torch.arange(self.shape[0], dtype=self.start.dtype, device=self.start.device)
        maps = to_middle @ (self.start + slices[:, None, None] * self.step) @ from_middle
        return maps / maps[:1, 2:, 2:]


def slice_maps(view: torch.Tensor, grid: VolumeGrid, detector_shape: tuple[int, int]) -> SliceMaps:
    """Work out the homographies of a view, differentiable in the view.

    Args:
        view: source, detector centre and steps, (4, 3) float64 in mm, LPS, as in `geometry_tensor`.
        grid: the volume's grid.
        detector_shape: (rows, columns).
    """
    axes = view.new_tensor(AXIS_DIRECTIONS_LPS)
    spacing, counts = view.new_tensor(grid.spacing), view.new_tensor(grid.shape)
    source, centre, column_step, row_step = view @ axes.T  # in mm along (D, H, W)
    rows, columns = detector_shape
    first_pixel = centre - (rows - 1) / 2 * row_step - (columns - 1) / 2 * column_step
    central_ray = centre - source
    parallel = is_parallel(view)
    corners = [first_pixel + r * row_step + c * column_step - source for r in (0, rows - 1) for c in (0, columns - 1)]
    along = dominant_axis(central_ray[None] if parallel else torch.stack(corners), spacing)
    u, v = (axis for axis in range(3) if axis != along)
    shape = (grid.shape[along], grid.shape[u], grid.shape[v])
    zero = view.new_zeros(3)

    if parallel:
        pixels = torch.stack([row_step, column_step, first_pixel], dim=1) / spacing[:, None]
        pixels = pixels + (counts - 1)[:, None] / 2 * view.new_tensor([0.0, 0.0, 1.0])
        slope = central_ray / spacing / (central_ray[along] / spacing[along])
        last = view.new_tensor([0.0, 0.0, 1.0])
        start = torch.stack([pixels[u] - pixels[along] * slope[u], pixels[v] - pixels[along] * slope[v], last])
        step = torch.stack([slope[u] * last, slope[v] * last, zero])
        length = spacing[along] * central_ray.norm() / central_ray[along].abs()
        return SliceMaps(along, shape, detector_shape, start, step, length.expand(detector_shape))

    directions = torch.stack([row_step, column_step, first_pixel - source], dim=1)
    scaled = directions / spacing[:, None]
    point = source / spacing + (counts - 1) / 2
    start = torch.stack(
        [
            point[u] * scaled[along] - point[along] * scaled[u],
            point[v] * scaled[along] - point[along] * scaled[v],
            scaled[along],
        ]
    )
    step = torch.stack([scaled[u], scaled[v], zero])
    row, column = (torch.arange(n, dtype=view.dtype, device=view.device) for n in detector_shape)
    squares = sum((a * row[:, None] + (b * column + c)) ** 2 for a, b, c in directions)
    a, b, c = directions[along]
    length = spacing[along] * torch.sqrt(squares) / (a * row[:, None] + (b * column + c)).abs()
    return SliceMaps(along, shape, detector_shape, start, step, length)


def write(target: torch.Tensor, block: torch.Tensor, add: bool) -> None:
    """Write a block to its place, or add it to what is there."""
    if add:
        target.add_(block)
    else:
        target.copy_(block)
