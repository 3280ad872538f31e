"""Where the volume, the source and the detector are: frozen objects in mm, patient frame LPS, isocentre at the origin.

The patient frame is DICOM's: x to the patient's left, y to the back, z to the head. Image rows run towards the feet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch

from conventions import AXIS_DIRECTIONS_LPS, LPS_TO_RAS, InputError

Vector = tuple[float, float, float]


def _vector(name: str, value: Sequence[float]) -> Vector:
    numbers = tuple(float(v) + 0.0 for v in value)  # + 0.0 turns -0.0 into 0.0
    if len(numbers) != 3 or not all(math.isfinite(v) for v in numbers):
        raise InputError(f"{name} must be three finite numbers (x, y, z) in mm, got {value!r}")
    return numbers


@dataclass(frozen=True)
class VolumeGrid:
    """The voxel grid of a volume (D, H, W), centred on the isocentre.

    Args:
        shape: voxels along D (to the feet), H (to the back) and W (to the left).
        spacing: voxel spacing in mm, one number or one an axis in the same order.

    Raises:
        InputError: where a size is not a positive integer or a spacing not a positive number.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]

    def __init__(self, shape: Sequence[int], spacing: float | Sequence[float]) -> None:
        steps = [spacing] * 3 if isinstance(spacing, (int, float)) else spacing
        if len(shape) != 3 or any(n != int(n) or n < 1 for n in shape):
            raise InputError(f"a grid's shape must be three positive integers (D, H, W), got {shape!r}")
        if len(steps) != 3 or any(not math.isfinite(s) or s <= 0 for s in steps):
            raise InputError(f"a grid's spacing must be one or three positive numbers in mm, got {spacing!r}")
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "spacing", tuple(float(s) for s in steps))

    @property
    def size(self) -> tuple[float, float, float]:
        """Extent in mm along (D, H, W), from outer face to outer face of the voxels."""
        d, h, w = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        return d, h, w

    def affine(self, centre_lps: Sequence[float] | np.ndarray = (0.0, 0.0, 0.0)) -> np.ndarray:
        """Affine from a voxel index (d, h, w) to the RAS position in mm, as NIfTI files and MONAI keep it.

        Args:
            centre_lps: patient position (x, y, z) of the grid's centre in mm, LPS.

        Returns:
            (4, 4) float64.
        """
        steps_lps = np.array(AXIS_DIRECTIONS_LPS).T * self.spacing
        first_voxel = np.asarray(centre_lps, dtype=float) - steps_lps @ ((np.array(self.shape) - 1) / 2)
        affine = np.eye(4)
        affine[:3, :3] = np.array(LPS_TO_RAS)[:, None] * steps_lps
        affine[:3, 3] = LPS_TO_RAS * first_voxel
        return affine + 0.0  # no negative zeros


@dataclass(frozen=True, kw_only=True)
class ConeBeam:
    """One radiographic view: a point source and a flat detector.

    Args:
        source: focal spot (x, y, z) in mm.
        detector_centre: centre of the detector in mm.
        column_step: from one column's centre to the next one's, in mm; points to the right of the image.
        row_step: from one row's centre to the next one's, in mm; points down the image.
        detector_shape: (rows, columns).

    Raises:
        InputError: where the numbers contradict each other: parallel steps, or a source in the detector's plane.
    """

    source: Vector
    detector_centre: Vector
    column_step: Vector
    row_step: Vector
    detector_shape: tuple[int, int] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("source", "detector_centre", "column_step", "row_step"):
            object.__setattr__(self, name, _vector(name, getattr(self, name)))
        shape = tuple(int(n) for n in self.detector_shape)
        if len(shape) != 2 or min(shape) < 1:
            raise InputError(f"detector_shape must be two positive integers (rows, columns), got {self.detector_shape}")
        object.__setattr__(self, "detector_shape", shape)
        normal = np.cross(self.column_step, self.row_step)
        area = float(np.linalg.norm(normal))
        if area < 1e-6 * max(1e-6, float(np.linalg.norm(self.column_step)) * float(np.linalg.norm(self.row_step))):
            raise InputError(f"column_step {self.column_step} and row_step {self.row_step} must span a plane")
        distance = abs(float(np.dot(np.subtract(self.source, self.detector_centre), normal))) / area
        if distance < 1e-3:
            raise InputError(f"the source {self.source} lies in the plane of the detector at {self.detector_centre}")

    @classmethod
    def _facing(
        cls, beam: Vector, columns: Vector, sdd: float, sod: float, detector_size: float, detector_shape: Sequence[int]
    ) -> Self:
        """A view along `beam` (unit vector from source to isocentre) with the detector square to it."""
        if not 0 < sod < sdd:
            raise InputError(f"sod must lie between 0 and sdd, got sod {sod} and sdd {sdd} mm")
        if detector_size <= 0:
            raise InputError(f"detector_size must be positive, got {detector_size} mm")
        rows, cols = int(detector_shape[0]), int(detector_shape[1])
        x, y, z = beam
        return cls(
            source=(-sod * x, -sod * y, -sod * z),
            detector_centre=((sdd - sod) * x, (sdd - sod) * y, (sdd - sod) * z),
            column_step=(columns[0] * detector_size / cols, columns[1] * detector_size / cols, 0.0),
            row_step=(0.0, 0.0, -detector_size / rows),
            detector_shape=(rows, cols),
        )

    @classmethod
    def pa(
        cls, *, sdd: float, sod: float, detector_size: float = 430.0, detector_shape: Sequence[int] = (128, 128)
    ) -> Self:
        """Posterior-anterior view: source behind the patient, patient's left on the image's right.

        Args:
            sdd: source-detector distance in mm.
            sod: source-isocentre distance in mm.
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        return cls._facing((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), sdd, sod, detector_size, detector_shape)

    @classmethod
    def lateral(
        cls,
        *,
        detector_side: Literal["left", "right"],
        sdd: float,
        sod: float,
        detector_size: float = 430.0,
        detector_shape: Sequence[int] = (128, 128),
    ) -> Self:
        """Lateral view, the patient's front on the image's left whichever side the detector is.

        Args:
            detector_side: the side of the patient that touches the detector; "left" is the usual left lateral.
            sdd: source-detector distance in mm.
            sod: source-isocentre distance in mm.
            detector_size: side of the square detector in mm.
            detector_shape: (rows, columns).
        """
        if detector_side not in ("left", "right"):
            raise InputError(f"detector_side must be 'left' or 'right', got {detector_side!r}")
        to_detector = 1.0 if detector_side == "left" else -1.0
        return cls._facing((to_detector, 0.0, 0.0), (0.0, 1.0, 0.0), sdd, sod, detector_size, detector_shape)

    @property
    def sdd(self) -> float:
        """Distance from the source to the detector's centre in mm."""
        return math.dist(self.source, self.detector_centre)

    @property
    def sod(self) -> float:
        """Distance from the source to the isocentre in mm."""
        return math.dist(self.source, (0.0, 0.0, 0.0))


PRESETS = {
    "x2ct": {
        "pa": {"sdd": 949.0, "sod": 541.0, "detector_size": 500.0},
        "lateral": {"detector_side": "right", "sdd": 949.0, "sod": 541.0, "detector_size": 500.0},
    },
    "chest": {
        "pa": {"sdd": 1800.0, "sod": 1650.0, "detector_size": 430.0},
        "lateral": {"detector_side": "left", "sdd": 1800.0, "sod": 1600.0, "detector_size": 430.0},
    },
}
"""Numbers of the named geometries in mm: `x2ct` is the authors' (source of the lateral at the patient's left), `chest`
a real chest film (180 cm, the patient against the detector, left lateral)."""


def preset(name: str, detector_shape: Sequence[int] = (128, 128)) -> tuple[ConeBeam, ConeBeam]:
    """The PA and the lateral view of a named geometry.

    Args:
        name: a key of `PRESETS`.
        detector_shape: (rows, columns); the detector keeps its size in mm.

    Returns:
        (PA, lateral).

    Raises:
        InputError: where the name is unknown.
    """
    if name not in PRESETS:
        raise InputError(f"unknown geometry {name!r}: choose one of {', '.join(PRESETS)}")
    numbers = PRESETS[name]
    return (
        ConeBeam.pa(detector_shape=detector_shape, **numbers["pa"]),  # type: ignore[arg-type]
        ConeBeam.lateral(detector_shape=detector_shape, **numbers["lateral"]),  # type: ignore[arg-type]
    )


def geometry_tensor(
    views: Sequence[ConeBeam], dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> torch.Tensor:
    """Views as numbers, as the projector and geometry-aware networks take them.

    Args:
        views: one or more views.
        dtype: of the result.
        device: of the result.

    Returns:
        (1, views, 4, 3) in mm, LPS: source, detector centre, column step, row step. Broadcasts over a batch.
    """
    rows = [[v.source, v.detector_centre, v.column_step, v.row_step] for v in views]
    return torch.tensor([rows], dtype=dtype, device=device)
