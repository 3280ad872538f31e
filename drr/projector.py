"""Project volumes and back-project images: argument checks, batches and the choice of a backend."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Sequence

import torch

from conventions import InputError

from . import linear_operator
from .checks import check_finite, check_numbers, check_view, misses_detector
from .geometry import Beam, ConeBeam, ParallelBeam, detector_shape_of
from .grid import VolumeGrid
from .joseph import project_view
from .linear_operator import BatchProjector
from .slices import SliceMaps, slice_maps
from .tensor import geometry_tensor, views_of_tensor

BACKENDS = ("auto", "reference", "eager", "compiled")
"""Implementations of the projector. `reference` is Joseph's method written to be read, with PyTorch's own gradient;
`eager` the fast form in plain tensor operations; `compiled` the fast form as kernels of `torch.compile`, which takes
some seconds at first use; `auto` the faster of these two for the device and the view."""


def project(
    mu: torch.Tensor,
    grid: VolumeGrid,
    views: Sequence[Beam] | torch.Tensor,
    backend: str = "auto",
    detector_shape: Sequence[int] | None = None,
) -> torch.Tensor:
    """Cast rays through volumes: the line integral of mu for each detector pixel.

    Args:
        mu: attenuation (B, 1, D, H, W) in 1/mm, floating point, on the CPU or a CUDA device.
        grid: the volume's grid, centred on the isocentre.
        views: view objects with one detector shape, or a tensor (1 or B, views, 4, 3) as `geometry_tensor` makes it;
            gradients reach both `mu` and such a tensor.
        backend: one of `BACKENDS`.
        detector_shape: (rows, columns); needed with a geometry tensor only.

    Returns:
        Line integrals (B, views, rows, columns), dimensionless: float64 for a float64 `mu`, else float32. The integral
        runs along the whole line, also behind the detector.

    Raises:
        InputError: where shapes do not fit each other, a ray meets a value that is not finite, a source lies inside the
            volume, the volume reaches behind it, or the cone is too wide.

    Warns:
        UserWarning: where the image of the volume misses the detector.
    """
    _check_backend(backend)
    check_numbers("mu", mu, (None, 1, *grid.shape))
    views, shape = _checked(views, detector_shape, mu.shape[0])
    _check_against_volume(views, shape, grid)
    dtype = torch.float64 if mu.dtype == torch.float64 else torch.float32
    volumes = mu[:, 0]
    if backend == "reference":
        images = _project_reference(volumes.to(dtype), grid, _exact(views, mu.device), shape)
    else:
        images = linear_operator.apply(volumes, *_operator(views, grid, shape, backend, mu.device), dtype)
    check_finite("mu", images)
    return images


def back_project(
    line_integrals: torch.Tensor, grid: VolumeGrid, views: Sequence[Beam] | torch.Tensor, backend: str = "auto"
) -> torch.Tensor:
    """Spread images back along their rays: the exact adjoint of `project`.

    It is no inverse: <project(mu), y> = <mu, back_project(y)>. It is deterministic: every run on a machine gives the
    same bits.

    Args:
        line_integrals: (B, views, rows, columns), floating point, on the CPU or a CUDA device.
        grid: grid of the result.
        views: view objects, or a tensor (1 or B, views, 4, 3); gradients reach both the images and such a tensor.
        backend: one of `BACKENDS`; "reference" has no gradient.

    Returns:
        (B, 1, D, H, W) in mm times the unit of the images: float64 for float64 images, else float32.

    Raises:
        InputError: as in `project`.
    """
    _check_backend(backend)
    check_numbers("line_integrals", line_integrals, (None, None, None, None))
    batch, count, rows, columns = line_integrals.shape
    views, shape = _checked(views, None if not torch.is_tensor(views) else (rows, columns), batch)
    _check_against_volume(views, shape, grid)
    views_held = views.shape[1] if isinstance(views, torch.Tensor) else len(views)
    if views_held != count or shape != (rows, columns):
        raise InputError(
            f"line_integrals hold {count} views of {(rows, columns)} pixels, the geometry {views_held} of {shape}"
        )
    images = line_integrals.to(torch.float64 if line_integrals.dtype == torch.float64 else torch.float32)
    device = images.device
    if backend == "reference":
        if torch.is_grad_enabled() and (images.requires_grad or (torch.is_tensor(views) and views.requires_grad)):
            raise InputError("back_project has no gradient with backend 'reference': use 'eager', or torch.no_grad()")
        volumes = _back_project_reference(images, grid, _exact(views, device), shape)
    else:
        volumes = linear_operator.apply_adjoint(images, *_operator(views, grid, shape, backend, device))
    check_finite("line_integrals", volumes.sum())
    return volumes[:, None]


def _check_backend(backend: str) -> None:
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}: choose one of {', '.join(BACKENDS)}")


Views = tuple[Beam, ...] | torch.Tensor


def _checked(
    views: Sequence[Beam] | torch.Tensor, detector_shape: Sequence[int] | None, batch: int
) -> tuple[Views, tuple[int, int]]:
    """Return views that fit the batch, and their detector's shape."""
    asked = None if detector_shape is None else detector_shape_of(detector_shape)
    if isinstance(views, torch.Tensor):
        if views.ndim != 4 or views.shape[-2:] != (4, 3) or views.shape[1] == 0:
            raise InputError(f"a geometry tensor has the shape (B, views, 4, 3), got {tuple(views.shape)}")
        if asked is None:
            raise InputError(
                "a geometry tensor does not hold the detector's shape: pass detector_shape=(rows, columns)"
            )
        if len(views) not in (1, batch):
            raise InputError(f"the geometry is for {len(views)} volumes, the batch holds {batch}")
        return views, asked
    if isinstance(views, (ConeBeam, ParallelBeam)) or not views:
        raise InputError(f"views must be a list of one or more views, got {views!r}")
    shapes = {view.detector_shape for view in views} | ({asked} if asked else set())
    if len(shapes) != 1:
        raise InputError(f"the views of one call need one detector shape, got {sorted(shapes)}")
    return tuple(views), shapes.pop()


def _check_against_volume(views: Views, detector_shape: tuple[int, int], grid: VolumeGrid) -> None:
    """Refuse views that cannot have produced an image of the volume; warn the caller of empty images."""
    cases = views_of_tensor(views, detector_shape) if isinstance(views, torch.Tensor) else (views,)
    for view in itertools.chain.from_iterable(cases):
        check_view(view, grid)
        if misses_detector(view, grid):
            warnings.warn(
                f"the volume of {grid.size} mm misses the detector at {view.detector_centre} mm: the image is empty",
                stacklevel=3,
            )


def _exact(views: Views, device: torch.device) -> torch.Tensor:
    """Return the views as a tensor (1 or B, V, 4, 3) of float64, in which positions are exact."""
    if isinstance(views, torch.Tensor):
        return views.to(device, torch.float64)
    return geometry_tensor(views, torch.float64, device)


@functools.lru_cache(maxsize=8)
def _maps_of_objects(views: tuple[Beam, ...], grid: VolumeGrid, device: torch.device) -> tuple[SliceMaps, ...]:
    """Return the slice maps of view objects, kept for the next call with the same views."""
    shape = views[0].detector_shape
    return tuple(slice_maps(view, grid, shape) for view in _exact(views, device)[0])


def _operator(
    views: Views, grid: VolumeGrid, detector_shape: tuple[int, int], backend: str, device: torch.device
) -> tuple[torch.Tensor | None, BatchProjector]:
    """Return the rays, where their gradient is wanted, and the operator."""
    if not isinstance(views, torch.Tensor):
        return None, BatchProjector(grid, (_maps_of_objects(views, grid, device),), backend)
    geometry = _exact(views, device)
    maps = [[slice_maps(view, grid, detector_shape) for view in case] for case in geometry]
    lines = None
    if geometry.requires_grad and torch.is_grad_enabled():
        lines = torch.stack([torch.stack([m.lines() for m in case]) for case in maps])
    return lines, BatchProjector(grid, tuple(tuple(m.detached() for m in case) for case in maps), backend)


def _project_reference(
    volumes: torch.Tensor, grid: VolumeGrid, geometry: torch.Tensor, detector_shape: tuple[int, int]
) -> torch.Tensor:
    """Project every view of every case with the reference: (B, D, H, W) -> (B, V, rows, columns)."""
    if geometry.shape[0] == 1:
        return torch.stack([project_view(volumes, grid, view, detector_shape) for view in geometry[0]], dim=1)
    return torch.stack(
        [
            torch.cat([project_view(volume[None], grid, view, detector_shape) for view in case])
            for volume, case in zip(volumes, geometry, strict=True)
        ]
    )


def _back_project_reference(
    images: torch.Tensor, grid: VolumeGrid, geometry: torch.Tensor, detector_shape: tuple[int, int]
) -> torch.Tensor:
    """Compute the adjoint as the gradient of the reference; it is not differentiable again."""
    with torch.enable_grad():
        volumes = torch.zeros(len(images), *grid.shape, dtype=images.dtype, device=images.device, requires_grad=True)
        projected = _project_reference(volumes, grid, geometry.detach(), detector_shape)
        return torch.autograd.grad(projected, volumes, images.detach())[0]
