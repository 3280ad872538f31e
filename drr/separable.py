"""The fast projector and adjoint of separable views: PA, AP, lateral, and any beam perpendicular to the volume's axes.

There a ray's row decides where it crosses a slice along one axis, and its column where it does along the other. So a
slice is interpolated along u for whole lines of voxels at once, turned, and interpolated along v for whole lines of
pixels. Both are weighted sums of a few contiguous rows, which `embedding_bag` does in one pass. The adjoint reads the
same weights the other way: for each voxel, the pixels that its hat function covers.
"""

from __future__ import annotations

import torch
from torch.nn.functional import embedding_bag

from .slices import SliceMaps, write


def _taps(position: torch.Tensor, voxels: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the two voxels about each ray in each slice and their weights, 0 outside the volume: (slices, pixels, 2)."""
    low = position.floor()
    fraction = (position - low).to(dtype)
    index = torch.stack([low.int(), low.int() + 1], dim=-1)
    weight = torch.stack([1 - fraction, fraction], dim=-1) * ((index >= 0) & (index < voxels))
    return index.clamp(0, voxels - 1), weight


def _adjoint_taps(position: torch.Tensor, voxels: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the pixels whose rays each voxel contributes to in each slice, and their weights: (slices, voxels, taps).

    Pixels lie evenly on a slice, so those within one voxel of a voxel's centre form a run whose start is known.
    """
    pixels = position.shape[1]
    first = position[:, :1]
    pitch = (position[:, 1:2] - first) if pixels > 1 else torch.ones_like(first)
    voxel = torch.arange(voxels, dtype=position.dtype, device=position.device)
    reach = 1 / pitch.abs()
    taps = min(pixels, int((2 * reach).max().floor()) + 2)
    start = ((voxel - first) / pitch - reach).floor().clamp(0, pixels - taps)
    index = start[..., None] + torch.arange(taps, dtype=position.dtype, device=position.device)
    weight = (1 - (first[..., None] + pitch[..., None] * index - voxel[:, None]).abs()).clamp(min=0)
    return index.int(), weight.to(dtype)


def _bags(index: torch.Tensor, weight: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Sum rows with weights: index and weight (..., taps), rows (N, M) -> (product of ..., M)."""
    taps = index.shape[-1]
    return embedding_bag(index.reshape(-1, taps), rows, mode="sum", per_sample_weights=weight.reshape(-1, taps))


def _is_plain_sum(maps: SliceMaps) -> bool:
    """Return whether each ray runs through the centres of a line of voxels: a parallel beam that matches the grid."""
    if float(maps.step.abs().max()) > 0:
        return False
    return all(bool((p == p.round()).all()) for p in (maps.positions(0)[0], maps.positions(1)[0]))


def project_separable(volume: torch.Tensor, maps: SliceMaps, dtype: torch.dtype) -> torch.Tensor:
    """Compute line integrals of one volume in one separable view.

    Args:
        volume: attenuation (D, H, W) in 1/mm, floating point.
        maps: slice maps of the view; separable.
        dtype: dtype to compute in, float32 or float64.

    Returns:
        (rows, columns) in `dtype`.
    """
    assert maps.pixel_axes is not None
    slices, n_u, n_v = maps.shape
    if maps.keep("plain sum", lambda: _is_plain_sum(maps)):
        stack = volume.sum(dim=maps.along, dtype=dtype)
        (i, weight_u), (j, weight_v) = (_taps(maps.positions(a)[:1], n, dtype) for a, n in ((0, n_u), (1, n_v)))
        image = stack[i[0, :, 0].long()][:, j[0, :, 0].long()] * weight_u[0, :, :1] * weight_v[0, :, 0]
        image = image if maps.pixel_axes == (0, 1) else image.T
        return image * maps.length.to(dtype)

    index_u, weight_u = maps.keep(("taps", 0, dtype), lambda: _taps(maps.positions(0), n_u, dtype))
    index_v, weight_v = maps.keep(("taps", 1, dtype), lambda: _taps(maps.positions(1), n_v, dtype))
    pixels_u, pixels_v = index_u.shape[1], index_v.shape[1]
    number = torch.arange(slices, device=volume.device, dtype=torch.int32)[:, None, None]
    in_place = volume.dtype == dtype and volume.is_contiguous() and maps.along < 2
    if in_place:  # rows of v lie as they are needed: row (slice, u), or (u, slice) where H is marched along
        rows = volume.view(-1, n_v)
        index_u = index_u + number * n_u if maps.along == 0 else index_u * slices + number

    def along_u(first: int, count: int) -> torch.Tensor:
        """Interpolate lines of v where the rays cross u: (count, pixels of u, v)."""
        part = slice(first, first + count)
        if in_place:
            return _bags(index_u[part], weight_u[part], rows).view(count, pixels_u, n_v)
        block = volume.narrow(maps.along, first, count).movedim(maps.along, 1).to(dtype).reshape(-1, n_v)
        return _bags(index_u[part] * count + number[:count], weight_u[part], block).view(count, pixels_u, n_v)

    image = torch.zeros(pixels_v, pixels_u, dtype=dtype, device=volume.device)
    for first, count in maps.blocks(pixels_u * n_v):
        part = slice(first, first + count)
        # One bag for each pixel along v: both taps of every slice of the block.
        taps = (index_v[part] + number[:count] * n_v).transpose(0, 1).flatten(1)
        weights = weight_v[part].transpose(0, 1).flatten(1)
        image += _bags(taps, weights, along_u(first, count).transpose(1, 2).reshape(-1, pixels_u))
    return (image.T if maps.pixel_axes == (0, 1) else image) * maps.length.to(dtype)


def back_project_separable(volume: torch.Tensor, image: torch.Tensor, maps: SliceMaps, add: bool) -> None:
    """Back-project one image in one separable view: the adjoint of `project_separable`.

    Args:
        volume: volume (D, H, W) to write to; its dtype is that of the computation.
        image: (rows, columns).
        maps: slice maps of the view; separable.
        add: whether to add to what the volume holds, rather than overwrite it.
    """
    assert maps.pixel_axes is not None
    slices, n_u, n_v = maps.shape
    dtype = volume.dtype
    number = torch.arange(slices, device=volume.device, dtype=torch.int32)[:, None, None]
    scaled = image.to(dtype) * maps.length.to(dtype)
    lines = scaled.T.contiguous() if maps.pixel_axes == (0, 1) else scaled.contiguous()  # (pixels of v, pixels of u)
    pixels_u = lines.shape[1]
    index_u, weight_u = maps.keep(("back", 0, dtype), lambda: _adjoint_taps(maps.positions(0), n_u, dtype))
    index_v, weight_v = maps.keep(("back", 1, dtype), lambda: _adjoint_taps(maps.positions(1), n_v, dtype))
    for first, count in maps.blocks(pixels_u * n_v):
        part = slice(first, first + count)
        rows = _bags(index_v[part], weight_v[part], lines).view(count, n_v, pixels_u)
        rows = rows.transpose(1, 2).reshape(-1, n_v)
        block = _bags(index_u[part] + number[:count] * pixels_u, weight_u[part], rows).view(count, n_u, n_v)
        write(volume.narrow(maps.along, first, count), block.movedim(0, maps.along), add)
