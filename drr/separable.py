"""The fast projector and adjoint of separable views: PA, AP, lateral, and any beam perpendicular to the volume's axes.

There a ray's row decides where it crosses a slice along one axis, and its column where it does along the other. So a
slice is interpolated along u for whole lines of voxels at once, turned, and interpolated along v for whole lines of
pixels. Both are weighted sums of a few contiguous rows, which `embedding_bag` does in one pass. The adjoint reads the
same weights the other way: for each voxel, the pixels that its hat function covers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

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


@dataclass(frozen=True)
class _Bags:
    """Weighted sums of a few rows each, as `embedding_bag` takes them.

    Args:
        index: numbers of the rows, one bag after the other, int32.
        weight: their weights.
        offsets: where each bag begins, int32.
    """

    index: torch.Tensor
    weight: torch.Tensor
    offsets: torch.Tensor

    @staticmethod
    def of(index: torch.Tensor, weight: torch.Tensor) -> _Bags:
        """Make a bag of each line of index and weight, (..., taps)."""
        index = index.int().contiguous()
        offsets = torch.arange(0, index.numel(), index.shape[-1], dtype=torch.int32, device=index.device)
        return _Bags(index.flatten(), weight.contiguous().flatten(), offsets)

    def sum(self, rows: torch.Tensor) -> torch.Tensor:
        """Sum rows (N, M): (bags, M)."""
        return torch.embedding_bag(rows, self.index, self.offsets, per_sample_weights=self.weight)[0]


@dataclass(frozen=True)
class _Block:
    """Some slices of a view, and how their rows are summed, first along one axis of a slice and then the other."""

    first: int
    count: int
    once: _Bags
    twice: _Bags


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
    _, n_u, n_v = maps.shape
    if maps.keep("plain sum", lambda: _is_plain_sum(maps)):
        stack = volume.sum(dim=maps.along, dtype=dtype)
        (i, weight_u), (j, weight_v) = (_taps(maps.positions(a)[:1], n, dtype) for a, n in ((0, n_u), (1, n_v)))
        image = stack[i[0, :, 0].long()][:, j[0, :, 0].long()] * weight_u[0, :, :1] * weight_v[0, :, 0]
        image = image if maps.pixel_axes == (0, 1) else image.T
        return image * maps.length.to(dtype)

    in_place = volume.dtype == dtype and volume.is_contiguous() and maps.along < 2
    blocks = maps.keep(("forward", dtype, in_place), lambda: _forward_blocks(maps, dtype, volume.device, in_place))
    pixels_u, pixels_v = (maps.detector_shape[axis] for axis in maps.pixel_axes)
    image = torch.zeros(pixels_v, pixels_u, dtype=dtype, device=volume.device)

    def contribution(block: _Block) -> torch.Tensor:
        if in_place:  # rows of v lie as they are needed: row (slice, u), or (u, slice) where H is marched along
            rows = volume.view(-1, n_v)
        else:
            part = volume.narrow(maps.along, block.first, block.count)
            rows = part.movedim(maps.along, 1).to(dtype).reshape(-1, n_v)
        lines = block.once.sum(rows).view(block.count, pixels_u, n_v)
        del rows  # a block less in memory
        return block.twice.sum(lines.transpose(1, 2).reshape(-1, pixels_u))

    for block in blocks:
        image += contribution(block)
    return (image.T if maps.pixel_axes == (0, 1) else image) * maps.length.to(dtype)


def _forward_blocks(maps: SliceMaps, dtype: torch.dtype, device: torch.device, in_place: bool) -> list[_Block]:
    """Prepare the sums of `project_separable`: lines of v where the rays cross u, then points on them.

    Args:
        maps: slice maps of the view; separable.
        dtype: dtype of the weights.
        device: device of the sums.
        in_place: whether the rows are those of the volume as it lies, or those of a block, (u, slice).
    """
    slices, n_u, n_v = maps.shape
    index_u, weight_u = _taps(maps.positions(0), n_u, dtype)
    index_v, weight_v = _taps(maps.positions(1), n_v, dtype)
    number = torch.arange(slices, device=device, dtype=torch.int32)[:, None, None]
    blocks = []
    for first, count in maps.blocks(index_u.shape[1] * n_v):
        part, here = slice(first, first + count), number[:count]
        if in_place and maps.along == 0:
            rows = index_u[part] + (here + first) * n_u
        elif in_place:
            rows = index_u[part] * slices + (here + first)
        else:
            rows = index_u[part] * count + here
        # One bag for each pixel along v: both taps of every slice of the block.
        taps, weights = (x.transpose(0, 1).flatten(1) for x in (index_v[part] + here * n_v, weight_v[part]))
        blocks.append(_Block(first, count, _Bags.of(rows, weight_u[part]), _Bags.of(taps, weights)))
    return blocks


def back_project_separable(volume: torch.Tensor, image: torch.Tensor, maps: SliceMaps, add: bool) -> None:
    """Back-project one image in one separable view: the adjoint of `project_separable`.

    Args:
        volume: volume (D, H, W) to write to; its dtype is that of the computation.
        image: (rows, columns).
        maps: slice maps of the view; separable.
        add: whether to add to what the volume holds, rather than overwrite it.
    """
    assert maps.pixel_axes is not None
    _, n_u, n_v = maps.shape
    dtype = volume.dtype
    scaled = image.to(dtype) * maps.length.to(dtype)
    lines = scaled.T.contiguous() if maps.pixel_axes == (0, 1) else scaled.contiguous()  # (pixels of v, pixels of u)
    for block in maps.keep(("back", dtype), lambda: _backward_blocks(maps, dtype, volume.device)):
        rows = block.once.sum(lines).view(block.count, n_v, -1).transpose(1, 2).reshape(-1, n_v)
        made = block.twice.sum(rows).view(block.count, n_u, n_v)
        write(volume.narrow(maps.along, block.first, block.count), made.movedim(0, maps.along), add)


def _backward_blocks(maps: SliceMaps, dtype: torch.dtype, device: torch.device) -> list[_Block]:
    """Prepare the sums of `back_project_separable`: lines of pixels at the voxels of v, then voxels of u."""
    slices, n_u, n_v = maps.shape
    along_u = maps.positions(0)
    pixels_u = along_u.shape[1]
    index_u, weight_u = _adjoint_taps(along_u, n_u, dtype)
    index_v, weight_v = _adjoint_taps(maps.positions(1), n_v, dtype)
    number = torch.arange(slices, device=device, dtype=torch.int32)[:, None, None]
    blocks = []
    for first, count in maps.blocks(pixels_u * n_v):
        part = slice(first, first + count)
        voxels = _Bags.of(index_u[part] + number[:count] * pixels_u, weight_u[part])
        blocks.append(_Block(first, count, _Bags.of(index_v[part], weight_v[part]), voxels))
    return blocks
