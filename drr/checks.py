"""Check the arguments of the projector: each refusal is one sentence."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch

from conventions import InputError

from .geometry import Beam, ConeBeam
from .grid import VolumeGrid


@functools.lru_cache(maxsize=64)
def check_view(view: Beam, grid: VolumeGrid) -> None:
    """Refuse a view that cannot have produced an image of the volume.

    Args:
        view: the view.
        grid: the volume's grid.

    Raises:
        InputError: where the source lies inside the volume or the volume reaches behind it.
    """
    if isinstance(view, ConeBeam):
        position = tuple(round(v, 1) for v in view.source)
        half = np.array(grid.size)[::-1] / 2
        if (np.abs(view.source) < half).all():
            raise InputError(f"the source at {position} mm lies inside the volume of {grid.size} mm: enlarge sod")
        depth = view.projection_matrix[2] @ np.c_[grid.corners_lps, np.ones(8)].T
        if (depth <= 0).all():
            raise InputError(
                f"the detector at {view.detector_centre} mm lies behind the source at {position} mm as seen from the "
                "volume: put source and detector on opposite sides of the isocentre"
            )
        if (depth <= 0).any():
            raise InputError(f"the volume of {grid.size} mm reaches behind the source at {position} mm: enlarge sod")


@functools.lru_cache(maxsize=64)
def misses_detector(view: Beam, grid: VolumeGrid) -> bool:
    """Return whether the image of the volume misses the detector.

    Args:
        view: the view; the volume lies before its source.
        grid: the volume's grid.
    """
    corners = view.project_points(grid.corners_lps)
    shape = np.array(view.detector_shape)
    return bool((corners.max(axis=0) < -0.5).any() or (corners.min(axis=0) > shape - 0.5).any())


def check_numbers(name: str, values: torch.Tensor, shape: Sequence[int | None]) -> None:
    """Refuse a tensor of another rank, shape, kind or device.

    Args:
        name: name of the argument.
        values: the tensor.
        shape: expected sizes, None where any size will do.

    Raises:
        InputError: naming what was found and what is expected.
    """
    if not isinstance(values, torch.Tensor):
        raise InputError(f"{name} must be a torch tensor, got {type(values).__name__}")
    wanted = "(B, 1, D, H, W)" if len(shape) == 5 else "(B, views, rows, columns)"
    fits = values.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, values.shape, strict=True))
    if not fits:
        grid = f" with the grid's {tuple(shape[2:])}" if len(shape) == 5 else ""
        raise InputError(f"{name} must have the shape {wanted}{grid}, got {tuple(values.shape)}")
    if values.shape[0] == 0:
        raise InputError(f"{name} is empty: its batch has no case")
    if not values.is_floating_point():
        raise InputError(f"{name} must be floating point, got {values.dtype}: convert it with .float()")
    if values.device.type not in ("cpu", "cuda"):
        raise InputError(f"{name} lies on {values.device}; the projector runs on cpu and cuda: move it with .to('cpu')")


def check_finite(name: str, result: torch.Tensor) -> None:
    """Refuse NaN and infinity if a ray has met one.

    Args:
        name: name of the argument that must have held it.
        result: result computed from that argument.

    Raises:
        InputError: where the result holds one.
    """
    if not bool(torch.isfinite(result).all()):
        raise InputError(f"{name} holds values that are not finite (NaN or infinity): repair or mask them first")
