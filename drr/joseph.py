"""Joseph's projector, written to be read: the reference that every faster path is held to.

Joseph (IEEE TMI 1982): along the axis of which it crosses most voxels, a ray meets each slice of the volume once; the
slice is interpolated bilinearly there, the values are summed, and the sum is multiplied by the length of ray
between two slices.
"""

from __future__ import annotations

import torch
from torch.nn.functional import grid_sample

from conventions import AXIS_DIRECTIONS_LPS

from .grid import VolumeGrid
from .slices import dominant_axis, is_parallel


def rays(view: torch.Tensor, detector_shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rays of one view, through the centre of each pixel.

    Args:
        view: source, detector centre, column step and row step, (4, 3) in mm, LPS.
        detector_shape: (rows, columns).

    Returns:
        A point and the direction of each ray in mm along (D, H, W), both broadcasting to (rows, columns, 3): in a cone
        beam the source and the vector to the pixel, in a parallel beam the pixel and the common direction.
    """
    axes = torch.tensor(AXIS_DIRECTIONS_LPS, dtype=view.dtype, device=view.device)
    source, centre, column_step, row_step = view @ axes.T
    rows, columns = detector_shape
    row = torch.arange(rows, dtype=view.dtype, device=view.device) - (rows - 1) / 2
    column = torch.arange(columns, dtype=view.dtype, device=view.device) - (columns - 1) / 2
    pixels = centre + row[:, None, None] * row_step + column[None, :, None] * column_step
    if is_parallel(view):
        return pixels, centre - source
    return source, pixels - source


def project_view(
    mu: torch.Tensor, grid: VolumeGrid, view: torch.Tensor, detector_shape: tuple[int, int]
) -> torch.Tensor:
    """Compute line integrals of one or more volumes in one view, differentiable in the volume and in the view.

    Args:
        mu: attenuation (N, D, H, W) in 1/mm.
        grid: the volume's grid.
        view: (4, 3) in mm, LPS. Positions are computed in its precision: float64 keeps them exact to 1e-12 mm.
        detector_shape: (rows, columns).

    Returns:
        (N, rows, columns) in the precision of `mu`. The integral runs along the whole line, also behind the detector.
    """
    points, directions = rays(view, detector_shape)
    spacing = torch.tensor(grid.spacing, dtype=view.dtype, device=view.device)
    counts = torch.tensor(grid.shape, dtype=view.dtype, device=view.device)

    corners = directions if directions.ndim == 1 else directions[:: max(1, len(directions) - 1)]
    corners = corners if directions.ndim == 1 else corners[:, :: max(1, directions.shape[1] - 1)]
    along = dominant_axis(corners.reshape(-1, 3), spacing)
    across = [axis for axis in range(3) if axis != along]

    # Where each ray meets the first slice, and how far it moves across from slice to slice, in grid_sample's units
    # (align_corners=False): -1 and 1 are the outer faces of the first and the last voxel.
    half_size = spacing[across] * counts[across] / 2
    slope = directions[..., across] / directions[..., along, None]
    first_slice = -(counts[along] - 1) / 2 * spacing[along]
    start = (points[..., across] + (first_slice - points[..., along, None]) * slope) / half_size
    step = spacing[along] * slope / half_size
    slices = torch.arange(grid.shape[along], dtype=mu.dtype, device=mu.device)[:, None, None, None]
    crossings = start.to(mu.dtype) + slices * step.to(mu.dtype)

    stack = mu.movedim(1 + along, 0)
    sampled = grid_sample(stack, crossings.flip(-1), mode="bilinear", padding_mode="zeros", align_corners=False)
    step_length = spacing[along] * directions.norm(dim=-1) / directions[..., along].abs()
    return sampled.sum(dim=0) * step_length.to(mu.dtype)
