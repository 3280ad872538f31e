"""The fast projector and adjoint of any view, and their compiled forms.

Forward, each slice is interpolated where the rays cross it. Backward, every voxel gathers the pixels whose rays pass
within one voxel of it: they lie in a small rectangle about its projection, whose size is bounded once for the view.
Nothing is scattered, so the result does not depend on the order of threads.

Both are written once in plain tensor operations and run eagerly, block by block, or as one kernel of `torch.compile`,
which keeps every position and weight in registers.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.functional import grid_sample, pad

from .slices import SliceMaps, write

logger = logging.getLogger("x2ct.drr")

ONE_KERNEL: dict[str, Any] = {"realize_opcount_threshold": 10**6, "realize_reads_threshold": 10**6}
"""Options that keep the compiler from writing intermediate positions to memory, as it does with long expressions."""

LARGEST_TILE = 4
"""Largest side, in pixels, that a voxel gathers in one kernel; a larger rectangle is gathered tile by tile."""

MARGIN = 1e-3
"""Pixels by which the rectangle of a voxel is widened against rounding; the hat weight has the last word."""


_given_up: set[str] = set()
"""Kinds of devices for which compiling has failed."""


def give_up_compiling(device_type: str, error: Exception) -> None:
    """Warn that compiling failed, and never compile for this kind of device again."""
    logger.warning(
        "compiling for %s failed, continuing without it (slower): %s", device_type, str(error).splitlines()[0]
    )
    _given_up.add(device_type)


def can_compile(device_type: str) -> bool:
    """Return whether `torch.compile` finds what it needs: a C++ compiler for the CPU, Triton for a GPU."""
    return device_type not in _given_up and _finds_compiler(device_type)


@functools.cache
def _finds_compiler(device_type: str) -> bool:
    """Look for a compiler once and log the answer once."""
    if device_type == "cuda":
        from torch.utils._triton import has_triton

        found = has_triton()
    else:
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            found = bool(get_cpp_compiler())
        except InvalidCxxCompiler:
            found = False
    logger.info(
        "%s: general views are back-projected by %s",
        device_type,
        "compiled kernels; the first call compiles for some seconds" if found else "plain tensor operations (slower)",
    )
    return found


@functools.cache
def _vector_bits() -> int | None:
    """Return the width of this processor's vectors, as an option that becomes part of the key of compiled kernels.

    The compiler's cache on disk does not ask for which processor a kernel was written. In a folder that processors with
    AVX-512 and with AVX2 share, one would run the other's kernel, whose sums are then wrong (PyTorch 2.13).
    """
    from torch._inductor.cpu_vec_isa import pick_vec_isa

    return pick_vec_isa().bit_width() or None


@functools.lru_cache(maxsize=64)
def _compiled(
    function: Callable[..., Any], device_type: str, sizes: tuple[Any, ...], *variant: int
) -> Callable[..., torch.Tensor]:
    """Compile a function for a kind of device, a set of sizes and a value of its first arguments, for unrolled loops.

    Each is a function of its own to the compiler, which gives up on a function after a few recompilations.
    """
    code = function.__code__.replace(co_name="_".join([function.__name__, *map(str, variant)]))
    options = {**ONE_KERNEL, "cpp.simdlen": _vector_bits() if device_type == "cpu" else None}
    twin = torch.compile(types.FunctionType(code, function.__globals__), dynamic=False, options=options)
    return functools.partial(twin, *variant)


# --- forward ---------------------------------------------------------------------------------------------------------


def project_slices(volume: torch.Tensor, maps: SliceMaps, dtype: torch.dtype) -> torch.Tensor:
    """Compute line integrals of one volume in one view, block by block.

    Args:
        volume: attenuation (D, H, W) in 1/mm, floating point.
        maps: slice maps of the view.
        dtype: dtype to compute in, float32 or float64.

    Returns:
        (rows, columns) in `dtype`.
    """
    image = torch.zeros(maps.detector_shape, dtype=dtype, device=volume.device)
    for _, block, points in sample_points(volume, maps, dtype):
        image += _interpolate(block, points).sum(0)
    return image * maps.length.to(dtype)


def sample_points(
    volume: torch.Tensor, maps: SliceMaps, dtype: torch.dtype
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Walk through a volume block by block.

    Yields:
        Slice numbers (n, 1, 1), the slices (n, u, v), and where the rays cross them (n, rows, columns, 2), (v, u) in
        `grid_sample`'s units: -1 and 1 are the outer faces of the first and the last voxel.
    """
    first, step = maps.keep(("grid", dtype), lambda: _grid_sample_lines(maps, dtype))
    for start, count in maps.blocks(2 * math.prod(maps.detector_shape)):
        number = torch.arange(start, start + count, dtype=dtype, device=volume.device)[:, None, None]
        block = volume.narrow(maps.along, start, count).movedim(maps.along, 0).to(dtype)
        yield number, block, torch.addcmul(first, number[..., None], step)


def _grid_sample_lines(maps: SliceMaps, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where rays meet slice 0, and their steps between slices: (rows, columns, 2), `grid_sample`'s units."""
    _, n_u, n_v = maps.shape
    u, v, u_step, v_step, _ = maps.lines()
    first = torch.stack([(2 * v + 1) / n_v - 1, (2 * u + 1) / n_u - 1], dim=-1)
    return first.to(dtype), torch.stack([2 * v_step / n_v, 2 * u_step / n_u], dim=-1).to(dtype)


def _interpolate(block: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Interpolate slices (n, u, v) bilinearly at points (n, rows, columns, 2): (n, rows, columns)."""
    return grid_sample(block[:, None], points, mode="bilinear", padding_mode="zeros", align_corners=False)[:, 0]


def line_derivatives(
    volume: torch.Tensor, weight: torch.Tensor, maps: SliceMaps, lines: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Differentiate the weighted image of one volume with respect to the numbers of its rays.

    Args:
        volume: attenuation (D, H, W) in 1/mm.
        weight: weight of each pixel, (rows, columns).
        maps: slice maps of the view.
        lines: `maps.lines()`.
        dtype: dtype to compute in.

    Returns:
        (5, rows, columns): derivatives of weight * line integral with respect to the five numbers of each ray.
    """
    _, n_u, n_v = maps.shape
    result = torch.zeros_like(lines)
    scaled = (weight * lines[4]).to(dtype)
    for number, block, points in sample_points(volume, maps, dtype):
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            values = _interpolate(block.detach(), points)
            (slope,) = torch.autograd.grad(values, points, scaled.expand_as(values))
        slope = slope[..., [1, 0]] * slope.new_tensor([2 / n_u, 2 / n_v])
        result[:2] += slope.sum(0).movedim(-1, 0)
        result[2:4] += (slope * number[..., None]).sum(0).movedim(-1, 0)
        result[4] += values.detach().sum(0) * weight
    return result


def _sum_slices(stack: torch.Tensor, first: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Compute Joseph's sum as one kernel.

    Args:
        stack: slices (n, u, v).
        first: u and v of each ray on slice 0, (2, rows, columns).
        step: their steps from slice to slice, (2, rows, columns).
    """
    slices, n_u, n_v = stack.shape
    number = torch.arange(slices, device=stack.device)[:, None, None]
    u = first[0] + number * step[0]
    v = first[1] + number * step[1]
    low_u, low_v = torch.floor(u), torch.floor(v)
    part_u, part_v = u - low_u, v - low_v
    total = torch.zeros((), dtype=first.dtype, device=stack.device)
    for shift_u, weight_u in ((0, 1 - part_u), (1, part_u)):
        for shift_v, weight_v in ((0, 1 - part_v), (1, part_v)):
            i, j = low_u + shift_u, low_v + shift_v
            inside = (i >= 0) & (i < n_u) & (j >= 0) & (j < n_v)
            value = stack[number, i.clamp(0, n_u - 1).long(), j.clamp(0, n_v - 1).long()].to(first.dtype)
            total = total + torch.where(inside, weight_u * weight_v * value, 0.0)
    return total.sum(0)


def project_compiled(volume: torch.Tensor, maps: SliceMaps, dtype: torch.dtype) -> torch.Tensor:
    """Compute `project_slices` as one compiled kernel."""
    lines = maps.lines()
    first, step = lines[:2].to(dtype), lines[2:4].to(dtype)
    sizes = (maps.along, *maps.shape, *maps.detector_shape, volume.dtype, dtype)
    kernel = _compiled(_sum_slices, volume.device.type, sizes)
    return kernel(volume.movedim(maps.along, 0), first, step) * lines[4].to(dtype)


# --- adjoint ---------------------------------------------------------------------------------------------------------


def _both_ways(maps: SliceMaps) -> tuple[torch.Tensor, torch.Tensor, tuple[float, float]]:
    """Return the homographies to the slices and to the pixels, and the reach of a voxel."""
    to_slices = maps.homographies()
    to_pixels = torch.linalg.inv(to_slices)
    return to_slices, to_pixels, _reach(maps, to_pixels)


def _reach(maps: SliceMaps, to_pixels: torch.Tensor) -> tuple[float, float]:
    """Bound half the size in pixels (rows, columns) of the rectangle with all pixels whose ray touches a voxel.

    A pixel index is a fraction of two linear functions of (u, v); its slope is bounded by the numerators' over the
    smallest denominator, which a corner has. Where a corner, one voxel beyond the volume, lies level with the source,
    there is no bound, and the rectangle is the whole detector.
    """
    _, n_u, n_v = maps.shape
    rows, columns = maps.detector_shape
    ends_u, ends_v = ((-1 - n // 2, n - n // 2) for n in (n_u, n_v))  # one voxel beyond, counted from the middle
    corners = to_pixels.new_tensor([[u, v, 1.0] for u in ends_u for v in ends_v])
    depth = (corners @ to_pixels[:, 2].T).amin(dim=0)  # of each slice
    if float(depth.min()) <= 0:
        return float(rows), float(columns)
    reach = [0.0, 0.0]
    for _ in range(2):  # the second time with room for what the first one found
        for axis, pixels in enumerate(maps.detector_shape):
            ends = to_pixels.new_tensor([-1 - pixels // 2 - reach[axis], pixels - pixels // 2 + reach[axis]])
            slope = to_pixels[:, axis, :2, None] - to_pixels[:, 2, :2, None] * ends
            reach[axis] = float((slope.abs().amax(dim=-1).sum(dim=-1) / depth).max())
    return min(reach[0] + MARGIN, float(rows)), min(reach[1] + MARGIN, float(columns))


def _gather(
    tile: int,
    image: torch.Tensor,
    to_slices: torch.Tensor,
    to_pixels: torch.Tensor,
    rectangle: torch.Tensor,
    n_u: int,
    n_v: int,
    columns: int,
) -> torch.Tensor:
    """Back-project the pixels of one tile near each voxel's projection onto slices.

    Args:
        tile: side of the tile in pixels.
        image: rows of `columns` pixels with one pixel of zeros around them, flat.
        to_slices: homographies from pixels to each slice as `SliceMaps.homographies` gives them, (n, 3, 3).
        to_pixels: their inverses, (n, 3, 3).
        rectangle: (2, 3): for rows and columns, the reach of a voxel, the last pixel at which its rectangle may begin,
            and the place of the tile in it.
        n_u: voxels along u.
        n_v: voxels along v.
        columns: columns of the image without its border.

    Returns:
        (n, u, v).
    """
    rows = image.shape[0] // (columns + 2) - 2
    u = torch.arange(n_u, dtype=image.dtype, device=image.device)[:, None] - n_u // 2
    v = torch.arange(n_v, dtype=image.dtype, device=image.device) - n_v // 2
    to_row, to_column, to_depth = (to_pixels[:, i, :, None, None].unbind(1) for i in range(3))
    to_u, to_v, to_w = (to_slices[:, i, :, None, None].unbind(1) for i in range(3))
    w = 1 / (to_depth[0] * u + to_depth[1] * v + to_depth[2])
    row, column = ((m[0] * u + m[1] * v + m[2]) * w for m in (to_row, to_column))
    first_row, first_column = (
        torch.minimum(torch.ceil(pixel - reach).clamp(min=-(count // 2)), latest) + place
        for pixel, count, (reach, latest, place) in ((row, rows, rectangle[0]), (column, columns, rectangle[1]))
    )
    # From the projection of the voxel to a pixel, a ray moves away from the voxel's centre by small numbers, which keep
    # their digits: ((u, v) w of the pixel) - (u, v) (w of the pixel), a linear function of the pixel.
    off_row, off_column = first_row - row, first_column - column
    u_row, u_column = to_u[0] - u * to_w[0], to_u[1] - u * to_w[1]
    v_row, v_column = to_v[0] - v * to_w[0], to_v[1] - v * to_w[1]
    off_u, off_v = u_row * off_row + u_column * off_column, v_row * off_row + v_column * off_column
    w = w + to_w[0] * off_row + to_w[1] * off_column
    row_index = [(first_row + (t + rows // 2)).clamp(-1, rows).int() for t in range(tile)]
    column_index = [(first_column + (t + columns // 2)).clamp(-1, columns).int() for t in range(tile)]
    total = torch.zeros((), dtype=image.dtype, device=image.device)
    for i in range(tile):
        for j in range(tile):
            depth = 1 / (w + (i * to_w[0] + j * to_w[1]))
            weight_u = (1 - ((off_u + (i * u_row + j * u_column)) * depth).abs()).clamp(min=0)
            weight_v = (1 - ((off_v + (i * v_row + j * v_column)) * depth).abs()).clamp(min=0)
            total = total + weight_u * weight_v * image[(row_index[i] + 1) * (columns + 2) + (column_index[j] + 1)]
    return total


def back_project_slices(volume: torch.Tensor, image: torch.Tensor, maps: SliceMaps, add: bool, compiled: bool) -> None:
    """Back-project one image in one view: the adjoint of `project_slices`.

    Args:
        volume: volume (D, H, W) to write to; its dtype is that of the computation.
        image: (rows, columns).
        maps: slice maps of the view.
        add: whether to add to what the volume holds, rather than overwrite it.
        compiled: whether to run one compiled kernel, rather than eager blocks.
    """
    slices, n_u, n_v = maps.shape
    dtype = volume.dtype
    to_slices, to_pixels, reach = maps.keep("homographies", lambda: _both_ways(maps))
    taps = [min(math.ceil(2 * r), n) for r, n in zip(reach, maps.detector_shape, strict=True)]
    latest = [n - n // 2 - t for t, n in zip(taps, maps.detector_shape, strict=True)]
    tile = min(LARGEST_TILE, max(taps))
    bordered = pad(image.to(dtype) * maps.length.to(dtype), (1, 1, 1, 1)).flatten()
    function: Callable[..., torch.Tensor] = functools.partial(_gather, tile)
    if compiled:
        function = _compiled(_gather, volume.device.type, (maps.along, *maps.shape, *maps.detector_shape, dtype), tile)
    blocks = [(0, slices)] if compiled else maps.blocks(2 * n_u * n_v)
    for first, count in blocks:
        part = slice(first, first + count)
        here, back = to_slices[part].to(dtype), to_pixels[part].to(dtype)
        target = volume.narrow(maps.along, first, count)
        for number, tap in enumerate(itertools.product(range(0, taps[0], tile), range(0, taps[1], tile))):
            rectangle = bordered.new_tensor(list(zip(reach, latest, tap, strict=True)))
            block = function(bordered, here, back, rectangle, n_u, n_v, image.shape[1])
            write(target, block.movedim(0, maps.along), add or number > 0)
