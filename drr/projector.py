"""The public projector: argument checks, batches and the choice of a backend."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from conventions import InputError

from .geometry import ConeBeam, VolumeGrid, geometry_tensor
from .joseph import project_view

BACKENDS = ("auto", "reference")


def _as_tensor(
    views: Sequence[ConeBeam] | torch.Tensor, detector_shape: Sequence[int] | None, device: torch.device
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Views as a float64 tensor (1 or B, V, 4, 3), so that positions stay exact, and the detector's shape."""
    if isinstance(views, torch.Tensor):
        if views.ndim != 4 or views.shape[-2:] != (4, 3):
            raise InputError(f"a geometry tensor has the shape (B, views, 4, 3), got {tuple(views.shape)}")
        if detector_shape is None:
            raise InputError(
                "a geometry tensor does not hold the detector's shape: pass detector_shape=(rows, columns)"
            )
        return views.to(device, torch.float64), (int(detector_shape[0]), int(detector_shape[1]))
    shapes = {view.detector_shape for view in views}
    if len(shapes) != 1:
        raise InputError(f"the views of one call need one detector shape, got {sorted(shapes)}")
    return geometry_tensor(views, torch.float64, device), shapes.pop()


def project(
    mu: torch.Tensor,
    grid: VolumeGrid,
    views: Sequence[ConeBeam] | torch.Tensor,
    backend: str = "auto",
    detector_shape: Sequence[int] | None = None,
) -> torch.Tensor:
    """Cast rays through volumes: the line integral of mu for each detector pixel.

    Args:
        mu: attenuation (B, 1, D, H, W) in 1/mm, float32 or float64, on any device.
        grid: the volume's grid, centred on the isocentre.
        views: view objects with one detector shape, or a tensor (1 or B, views, 4, 3) as `geometry_tensor` makes it;
            gradients reach both `mu` and such a tensor.
        backend: "reference" is Joseph's method written to be read; "auto" takes the fastest there is.
        detector_shape: (rows, columns); needed with a tensor only.

    Returns:
        Line integrals (B, views, rows, columns), dimensionless, in the precision of `mu`.

    Raises:
        InputError: where shapes do not fit each other, or a source lies inside the volume.
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    if mu.ndim != 5 or mu.shape[1] != 1 or tuple(mu.shape[2:]) != grid.shape:
        raise InputError(f"mu must have the shape (B, 1, D, H, W) with the grid's {grid.shape}, got {tuple(mu.shape)}")
    geometry, shape = _as_tensor(views, detector_shape, mu.device)
    batch = mu.shape[0]
    if geometry.shape[0] not in (1, batch):
        raise InputError(f"the geometry is for {geometry.shape[0]} volumes, mu holds {batch}")
    _refuse_source_inside(grid, geometry)

    volumes = mu[:, 0]
    if geometry.shape[0] == 1:
        return torch.stack([project_view(volumes, grid, view, shape) for view in geometry[0]], dim=1)
    return torch.stack(
        [
            torch.cat([project_view(volume[None], grid, view, shape) for view in case])
            for volume, case in zip(volumes, geometry, strict=True)
        ]
    )


def _refuse_source_inside(grid: VolumeGrid, geometry: torch.Tensor) -> None:
    depth, height, width = grid.size
    half_lps = torch.tensor([width, height, depth], dtype=geometry.dtype, device=geometry.device) / 2
    sources = geometry.detach()[..., 0, :]
    inside = (sources.abs() < half_lps).all(dim=-1)
    if bool(inside.any()):
        position = [round(v, 1) for v in sources[inside][0].tolist()]
        raise InputError(f"the source at {position} mm lies inside the volume of {grid.size} mm: enlarge sod")
