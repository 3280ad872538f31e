"""Convert views to one tensor and back: the form that jittered samples and geometry-aware networks take."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from conventions import InputError

from .geometry import AT_INFINITY_MM, Beam, ConeBeam, ParallelBeam, detector_shape_of

PARALLEL_SOURCE_MM = 1e8
"""Distance at which a geometry tensor puts the source of a parallel beam: float32 keeps its direction to 1e-7."""


def geometry_tensor(
    views: Sequence[Beam], dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> torch.Tensor:
    """Write views as numbers, as the projector and geometry-aware networks take them.

    Args:
        views: one or more views.
        dtype: dtype of the result.
        device: device of the result.

    Returns:
        (1, views, 4, 3) in mm, LPS: source, detector centre, column step, row step. Broadcasts over a batch. The source
        of a parallel beam stands `PARALLEL_SOURCE_MM` before the detector's centre.
    """
    rows = []
    for view in views:
        if isinstance(view, ParallelBeam):
            source = np.array(view.detector_centre) - PARALLEL_SOURCE_MM * np.array(view.direction)
        else:
            source = np.array(view.source)
        rows.append([source.tolist(), view.detector_centre, view.column_step, view.row_step])
    return torch.tensor([rows], dtype=dtype, device=device)


def views_of_tensor(geometry: torch.Tensor, detector_shape: Sequence[int]) -> tuple[tuple[Beam, ...], ...]:
    """Rebuild view objects from what `geometry_tensor` wrote.

    Args:
        geometry: (B, views, 4, 3) in mm, LPS.
        detector_shape: (rows, columns), which the tensor does not hold.

    Returns:
        The views of each of the B cases.

    Raises:
        InputError: where the tensor has another shape, or its numbers contradict each other.
    """
    if geometry.ndim != 4 or geometry.shape[-2:] != (4, 3):
        raise InputError(f"a geometry tensor has the shape (B, views, 4, 3), got {tuple(geometry.shape)}")
    shape = detector_shape_of(detector_shape)
    return tuple(tuple(_beam(rows, shape) for rows in case) for case in geometry.detach().cpu().double().tolist())


def _beam(rows: list[list[float]], detector_shape: tuple[int, int]) -> Beam:
    source, centre, column_step, row_step = ((row[0], row[1], row[2]) for row in rows)
    if math.dist(source, centre) > AT_INFINITY_MM:
        direction = (centre[0] - source[0], centre[1] - source[1], centre[2] - source[2])
        return ParallelBeam(
            direction=direction,
            detector_centre=centre,
            column_step=column_step,
            row_step=row_step,
            detector_shape=detector_shape,
        )
    return ConeBeam(
        source=source, detector_centre=centre, column_step=column_step, row_step=row_step, detector_shape=detector_shape
    )


def perturb_geometry(
    geometry: torch.Tensor,
    *,
    sdd: torch.Tensor | float = 0.0,
    sod: torch.Tensor | float = 0.0,
    angle: torch.Tensor | float = 0.0,
    tilt: torch.Tensor | float = 0.0,
    shift_columns: torch.Tensor | float = 0.0,
    shift_rows: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Move views slightly, as real ones are off; differentiable.

    Args:
        geometry: (B, views, 4, 3) in mm, LPS.
        sdd: change of the source-detector distance in mm; this and the others are one number or (B, views).
        sod: change of the source-isocentre distance in mm.
        angle: turn of source and detector about the patient's long axis (z) in degrees.
        tilt: degrees by which the beam points towards the head.
        shift_columns: shift of source and detector to the right of the image in mm.
        shift_rows: shift of source and detector down the image in mm.

    Returns:
        (B, views, 4, 3).
    """
    source, centre, column_step, row_step = geometry.unbind(-2)

    def amount(value: torch.Tensor | float) -> torch.Tensor:
        return torch.as_tensor(value, dtype=geometry.dtype, device=geometry.device).expand(source.shape[:-1])[..., None]

    distance = (centre - source).norm(dim=-1, keepdim=True)
    beam = (centre - source) / distance
    right = column_step / column_step.norm(dim=-1, keepdim=True)
    down = row_step / row_step.norm(dim=-1, keepdim=True)
    shift = amount(shift_columns) * right + amount(shift_rows) * down
    source = source - amount(sod) * beam + shift
    centre = source + (distance + amount(sdd)) * beam
    vectors = [source, centre, column_step, row_step]
    up = source.new_tensor([0.0, 0.0, 1.0]).expand_as(source)
    across = torch.linalg.cross(beam, up, dim=-1)  # axis about which a turn takes the beam to the head
    width = across.norm(dim=-1, keepdim=True)
    across = torch.where(width > 1e-6, across / width.clamp(min=1e-6), right)
    for axis, degrees in ((across, amount(tilt)), (up, amount(angle))):
        vectors = [_turned(vector, axis, torch.deg2rad(degrees)) for vector in vectors]
    return torch.stack(vectors, dim=-2)


def _turned(vector: torch.Tensor, axis: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Turn vectors (..., 3) about unit axes by angles (..., 1) in radians, by Rodrigues' formula."""
    along = (axis * vector).sum(dim=-1, keepdim=True) * axis
    return along + torch.cos(angle) * (vector - along) + torch.sin(angle) * torch.linalg.cross(axis, vector, dim=-1)
