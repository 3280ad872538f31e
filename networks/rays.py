"""The rays of views in tensor operations that TorchScript and ONNX know: directions, positions on detectors, depths."""

from __future__ import annotations

import torch
from torch import Tensor


def detector_frames(geometry: Tensor, rows: int, columns: int) -> Tensor:
    """Replace the pixel steps of views by the vectors from the detector's centre to its right and its lower edge.

    A position on the detector then runs from -1 to 1, as `grid_sample` counts it, whatever the size of a map.

    Args:
        geometry: views (..., 4, 3) in mm, LPS: source, detector centre, column step, row step.
        rows: rows of the detector.
        columns: columns of the detector.

    Returns:
        (..., 4, 3) in mm, LPS: source, detector centre, vector to the right edge, vector to the lower edge.
    """
    points, column_step, row_step = geometry[..., :2, :], geometry[..., 2:3, :], geometry[..., 3:, :]
    return torch.cat([points, column_step * (columns / 2), row_step * (rows / 2)], -2)


def ray_directions(beams: Tensor, rows: int, columns: int) -> Tensor:
    """Compute the direction of each pixel's ray.

    Args:
        beams: views (B, V, 4, 3), as `detector_frames` gives them.
        rows: rows of the detector.
        columns: columns of the detector.

    Returns:
        Unit vectors (B, V, 3, rows, columns), (x, y, z) in LPS.
    """
    source, centre, to_right, to_bottom = [p[..., None, None] for p in beams.unbind(2)]
    across = (2 * torch.arange(columns, dtype=beams.dtype, device=beams.device) + 1) / columns - 1
    down = (2 * torch.arange(rows, dtype=beams.dtype, device=beams.device) + 1) / rows - 1
    ray = (centre - source) + down[:, None] * to_bottom + across * to_right
    return ray / ray.square().sum(2, keepdim=True).sqrt()


def project_grid(beam: Tensor, axes: Tensor) -> tuple[Tensor, Tensor]:
    """Project the voxel centres of a grid onto a detector.

    Let x be a position relative to the detector's centre, n the detector's normal, v the vector from the source to the
    centre. The ray through x meets the detector at (x - (n.x) v / (n.v)) / w from its centre, with w = 1 + n.x / (n.v).
    No term grows with the distance of the source, so a parallel beam, whose source is 1e8 mm away, keeps its accuracy
    in 32 bits. Everything but the division by w is linear along the axes.

    Args:
        beam: one view of each case (B, 4, 3), as `detector_frames` gives it.
        axes: positions of the voxel centres along D, H and W in mm: (3, S), that is z, y and x.

    Returns:
        Positions on the detector (B, S, S, S, 2), column and row, from -1 to 1 inside; and w (B, S, S, S), the inverse
        of the magnification, which is not positive behind the source.
    """
    source, centre, to_right, to_bottom = beam.unbind(1)
    ray = centre - source
    normal = torch.linalg.cross(to_right, to_bottom)
    distance = dot(normal, ray)
    inverse_area = 1 / dot(normal, normal)
    w = along_axes(normal / distance, 1 - dot(normal, centre) / distance, axes)
    positions: list[Tensor] = []
    for form in (torch.linalg.cross(to_bottom, normal), torch.linalg.cross(normal, to_right)):
        form = form * inverse_area
        form = form - dot(form, ray / distance) * normal
        positions.append(along_axes(form, -dot(form, centre), axes) / w)
    return torch.stack(positions, -1), w


def depth_along_beam(beam: Tensor, axes: Tensor) -> Tensor:
    """Compute the depth of voxel centres along the central ray, from the isocentre on.

    Args:
        beam: one view of each case (B, 4, 3).
        axes: as in `project_grid`.

    Returns:
        (B, S, S, S) in mm.
    """
    ray = beam[:, 1] - beam[:, 0]
    return along_axes(ray / dot(ray, ray).sqrt(), torch.zeros_like(ray[:, :1]), axes)


def along_axes(gradient: Tensor, at_isocentre: Tensor, axes: Tensor) -> Tensor:
    """Evaluate a linear function of position at every voxel centre.

    Args:
        gradient: change per mm along x, y and z (B, 3).
        at_isocentre: value at the isocentre (B, 1).
        axes: as in `project_grid`.

    Returns:
        (B, S, S, S).
    """
    along_d = gradient[:, 2:3] * axes[0] + at_isocentre
    along_h = gradient[:, 1:2] * axes[1]
    along_w = gradient[:, 0:1] * axes[2]
    return (along_d[:, :, None, None] + along_h[:, None, :, None]) + along_w[:, None, None, :]


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Compute the dot product: (B, 3) and (B, 3) -> (B, 1)."""
    return (a * b).sum(1, keepdim=True)
