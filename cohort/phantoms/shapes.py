"""Describe analytic shapes in the patient frame, paint them on a grid and integrate along rays through ellipsoids.

Positions are LPS in mm: x to the patient's left, y to the back, z to the head; the origin is the centre of the grid,
which is the isocentre. A canvas is (D, H, W): increasing index is inferior (-z), posterior (+y), left (+x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from conventions import InputError

Vector = tuple[float, float, float]
Box = tuple[slice, slice, slice]

_TABLE_REACH_MM = 300.0
"""Largest distance from the origin, along z, that the tables of a `Column` cover."""
_TABLE_STEP_MM = 0.5
"""Step of the tables of a `Column` along z."""
_ROUNDING_MM = 20.0
"""Half width of the bell that smooths the sides of a `Column`."""


def vector(values: np.ndarray) -> Vector:
    """Turn three numbers into a tuple of floats."""
    x, y, z = (float(v) for v in values)
    return x, y, z


@dataclass(frozen=True)
class Pose:
    """A rigid motion: `rotation @ point + shift`."""

    angles_deg: Vector = (0.0, 0.0, 0.0)
    """Right-handed rotations about x, then y, then z."""
    shift: Vector = (0.0, 0.0, 0.0)
    """Displacement in mm."""

    @cached_property
    def rotation(self) -> np.ndarray:
        """The rotation as a matrix (3, 3)."""
        (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(self.angles_deg)), np.sin(np.radians(self.angles_deg))
        about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        return about_z @ about_y @ about_x

    def apply(self, point: Vector) -> Vector:
        """Move a point (x, y, z) in mm."""
        return vector(self.rotation @ np.asarray(point) + np.asarray(self.shift))


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid of one value."""

    centre: Vector
    """(x, y, z) in mm, LPS."""
    semi_axes: Vector
    """Half lengths of its three axes in mm, all positive."""
    value: float
    """Its value: HU in a phantom, or any additive density in `ellipsoid_line_integral`."""
    axes: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    """Orthonormal directions of the semi-axes, LPS, in their order."""

    def moved(self, pose: Pose) -> Ellipsoid:
        """Return the ellipsoid after a rigid motion."""
        first, second, third = (vector(pose.rotation @ np.asarray(axis)) for axis in self.axes)
        return replace(self, centre=pose.apply(self.centre), axes=(first, second, third))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest (x, y, z) in mm of the box around it."""
        reach = np.linalg.norm(np.asarray(self.axes) * np.asarray(self.semi_axes)[:, None], axis=0)
        return self.centre - reach, self.centre + reach

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Compute the distance to the surface in mm, negative inside, to first order: accurate near the surface.

        Args:
            x: coordinates in mm; x, y and z broadcast.
            y: as x.
            z: as x.
        """
        inside = gradient = np.float32(1e-12)
        centre = np.asarray(self.centre, np.float32)
        for axis, length in zip(self.axes, self.semi_axes, strict=True):
            (ax, ay, az), (cx, cy, cz) = np.asarray(axis, np.float32) / np.float32(length), centre
            scaled = ((x - cx) * ax + (y - cy) * ay) + (z - cz) * az
            squared = scaled * scaled
            inside, gradient = inside + squared, gradient + squared / np.float32(length**2)
        return (inside - np.sqrt(inside)) / np.sqrt(gradient)


@dataclass(frozen=True)
class Tube:
    """A rod with round ends whose radius changes linearly from start to end."""

    start: Vector
    """(x, y, z) in mm, LPS."""
    end: Vector
    """(x, y, z) in mm, LPS."""
    radii: tuple[float, float]
    """Radius in mm at start and end."""
    value: float
    """Its value, in HU."""

    def moved(self, pose: Pose) -> Tube:
        """Return the tube after a rigid motion."""
        return replace(self, start=pose.apply(self.start), end=pose.apply(self.end))

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest (x, y, z) in mm of the box around it."""
        ends, radius = np.array([self.start, self.end]), max(self.radii)
        return ends.min(0) - radius, ends.max(0) + radius

    def distance(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Compute the distance to the surface in mm, negative inside.

        Args:
            x: coordinates in mm; x, y and z broadcast.
            y: as x.
            z: as x.
        """
        sx, sy, sz = np.asarray(self.start, np.float32)
        dx, dy, dz = np.asarray(self.end, np.float32) - np.asarray(self.start, np.float32)
        x, y, z = x - sx, y - sy, z - sz
        length2 = max(dx * dx + dy * dy + dz * dz, np.float32(1e-6))
        along = np.clip((x * dx + y * dy + z * dz) / length2, 0, 1)
        to_axis2 = (x - along * dx) ** 2 + (y - along * dy) ** 2 + (z - along * dz) ** 2
        return np.sqrt(to_axis2) - (np.float32(self.radii[0]) + along * np.float32(self.radii[1] - self.radii[0]))


Part = Ellipsoid | Tube
"""A shape that a canvas paints."""


class Column:
    """An upright solid whose axial sections are rounded rectangles that change smoothly with height.

    Args:
        heights: z in mm of the given sections, increasing.
        centre_x: x in mm of each section's centre.
        half_width: half extent along x in mm of each section.
        front: lowest y in mm of each section.
        back: highest y in mm of each section.
        squareness: 0 for ellipses, towards 1 for rectangles.
    """

    def __init__(
        self,
        heights: np.ndarray,
        centre_x: np.ndarray,
        half_width: np.ndarray,
        front: np.ndarray,
        back: np.ndarray,
        squareness: float,
    ) -> None:
        table_z = np.arange(-_TABLE_REACH_MM, _TABLE_REACH_MM + _TABLE_STEP_MM, _TABLE_STEP_MM)
        # Linear between the sections, then averaged over a bell so that the sides have no kinks.
        bell = np.hanning(2 * round(_ROUNDING_MM / _TABLE_STEP_MM) + 1)
        rows = [np.interp(table_z, heights, knots) for knots in (centre_x, half_width, front, back)]
        rows = [np.convolve(np.pad(row, bell.size // 2, mode="edge"), bell / bell.sum(), mode="valid") for row in rows]
        self.centre_x, self.half_width, self.front, self.back = (row.astype(np.float32) for row in rows)
        self.centre_y, self.half_depth = (self.front + self.back) / 2, (self.back - self.front) / 2
        slope = np.gradient(self.half_width, _TABLE_STEP_MM)
        self.steepness = (1 / np.sqrt(1 + slope * slope)).astype(np.float32)
        self.squareness = squareness

    @staticmethod
    def level(z: np.ndarray | float) -> np.ndarray:
        """Return the index of a height z in mm into the tables of the sections (`centre_x`, `half_width`, ...)."""
        index = (np.asarray(z) + _TABLE_REACH_MM) / _TABLE_STEP_MM + 0.5
        return index.astype(np.intp).clip(0, round(2 * _TABLE_REACH_MM / _TABLE_STEP_MM))

    def scaled_radius(self, x: np.ndarray | float, y: np.ndarray | float, level: np.ndarray) -> np.ndarray:
        """Compute how far out a point lies in its section: 0 on the axis, 1 on the surface (a squircle).

        Args:
            x: coordinates in mm.
            y: as x.
            level: index of the height, from `level`.
        """
        x2 = ((x - self.centre_x[level]) / self.half_width[level]) ** 2
        y2 = ((y - self.centre_y[level]) / self.half_depth[level]) ** 2
        total = x2 + y2
        corner = np.sqrt(np.maximum(total * total - np.float32(4 * self.squareness**2) * (x2 * y2), 0))
        return np.sqrt((total + corner) * np.float32(0.5))

    def distance(self, x: np.ndarray, y: np.ndarray, level: np.ndarray, scaled_radius: np.ndarray) -> np.ndarray:
        """Compute the distance to the surface in mm, negative inside.

        It is measured along the line to the centre of the section and shortened where the sides slope.

        Args:
            x: coordinates in mm.
            y: as x.
            level: index of the height, from `level`.
            scaled_radius: from `scaled_radius`.
        """
        from_centre = np.hypot(x - self.centre_x[level], y - self.centre_y[level])
        along_section = from_centre - from_centre / np.maximum(scaled_radius, np.float32(1e-6))
        return along_section * self.steepness[level]


class Canvas:
    """A volume on a centred grid on which shapes are painted one over the other, with soft edges one voxel wide.

    Args:
        shape: voxels along (D, H, W).
        spacing: edge of a voxel in mm.
        background: initial value of all voxels.

    Raises:
        InputError: where the shape is not three positive integers or the spacing is not positive.
    """

    def __init__(self, shape: Sequence[int], spacing: float, background: float) -> None:
        sizes = np.asarray(shape)
        if sizes.shape != (3,) or not np.issubdtype(sizes.dtype, np.integer) or (sizes < 1).any():
            raise InputError(f"the shape of a volume is three positive integers (D, H, W), not {shape}")
        if not (np.isfinite(spacing) and spacing > 0):
            raise InputError(f"the voxel spacing is a positive number of mm, not {spacing}")
        self.spacing = float(spacing)
        self.volume = np.full([int(n) for n in shape], background, dtype=np.float32)
        z, y, x = (((np.arange(n) - (n - 1) / 2) * spacing).astype(np.float32) for n in self.volume.shape)
        self.x, self.y, self.z = x[None, None, :], y[None, :, None], -z[:, None, None]

    def box(self, low: np.ndarray, high: np.ndarray) -> Box:
        """Return the slices (D, H, W) of the voxels in a box of the patient frame and one voxel around it.

        Args:
            low: lowest (x, y, z) in mm.
            high: highest (x, y, z) in mm.
        """
        (x0, y0, z0), (x1, y1, z1) = low, high
        edges = ((-z1, -z0), (y0, y1), (x0, x1))
        slices = []
        for n, (first, last) in zip(self.volume.shape, edges, strict=True):
            start, stop = (edge / self.spacing + (n - 1) / 2 for edge in (first, last))
            slices.append(slice(min(max(int(start) - 1, 0), n), min(max(int(stop) + 3, 0), n)))
        return slices[0], slices[1], slices[2]

    def coverage(self, distance: np.ndarray) -> np.ndarray:
        """Compute the share of a voxel, 0 to 1, inside a surface, from the distance of its centre in mm."""
        return np.clip(np.float32(0.5) - distance * np.float32(1 / self.spacing), 0, 1)

    def blend(self, coverage: np.ndarray, value: np.ndarray | float, box: Box | None = None) -> None:
        """Blend a value into the volume.

        Args:
            coverage: 0 (keep) to 1 (replace) for each voxel of the box.
            value: one value, or one for each voxel of the box.
            box: slices (D, H, W); None is the whole volume.
        """
        part = self.volume if box is None else self.volume[box]
        part += coverage * (np.asarray(value, dtype=np.float32) - part)

    def paint(self, shape: Part, within: np.ndarray | None = None) -> None:
        """Paint an ellipsoid or a tube.

        A tube is painted at least one voxel thick, and fainter by as much as that and its soft edge add to its section,
        so that its mass is kept.

        Args:
            shape: shape in the frame of the grid.
            within: coverage (D, H, W) that the shape is confined to.
        """
        faint = 1.0
        if isinstance(shape, Tube):
            radii = np.maximum(shape.radii, self.spacing / 2)
            faint = sum(shape.radii) ** 2 / (radii.sum() ** 2 + self.spacing**2 / 3)
            shape = replace(shape, radii=(float(radii[0]), float(radii[1])))
        box = self.box(*shape.bounds())
        if any(s.start >= s.stop for s in box):
            return
        along_d, along_h, along_w = box
        x, y, z = self.x[:, :, along_w], self.y[:, along_h], self.z[along_d]
        coverage = self.coverage(shape.distance(x, y, z)) * np.float32(faint)
        self.blend(coverage if within is None else coverage * within[box], shape.value, box)


def ellipsoid_line_integral(
    ellipsoids: Sequence[Ellipsoid], source: Sequence[float] | np.ndarray, targets: Sequence[float] | np.ndarray
) -> np.ndarray:
    """Integrate exactly along straight rays through ellipsoids whose values add up where they overlap.

    Each ellipsoid contributes its value times the length in mm of the ray inside it, between source and target. Values
    in 1/mm (mu) therefore give line integrals without unit, and the value 1 gives chord lengths in mm.

    Args:
        ellipsoids: ellipsoids in the frame of the rays.
        source: (x, y, z) in mm, LPS; one for all rays, or one per ray (..., 3).
        targets: ends of the rays, (..., 3) in mm, LPS.

    Returns:
        float64 (...), value x mm.

    Raises:
        InputError: where source or targets do not hold three coordinates.
    """
    start, end = np.asarray(source, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if start.shape[-1:] != (3,) or end.shape[-1:] != (3,):
        raise InputError(f"rays need (x, y, z) in the last axis, not source {start.shape} and targets {end.shape}")
    ray = end - start
    length = np.linalg.norm(ray, axis=-1)
    total = np.zeros(ray.shape[:-1])
    for ellipsoid in ellipsoids:
        # In the frame where the ellipsoid is the unit sphere, |origin + t * step| = 1 is a quadratic in t.
        to_unit_sphere = np.asarray(ellipsoid.axes).T / np.asarray(ellipsoid.semi_axes)
        origin, step = (start - np.asarray(ellipsoid.centre)) @ to_unit_sphere, ray @ to_unit_sphere
        step2 = np.maximum((step * step).sum(-1), np.finfo(np.float64).tiny)
        middle = -(origin * step).sum(-1) / step2
        nearest = origin + middle[..., None] * step
        half = np.sqrt(np.maximum(1 - (nearest * nearest).sum(-1), 0) / step2)
        inside = np.clip(middle + half, 0, 1) - np.clip(middle - half, 0, 1)
        total += ellipsoid.value * inside * length
    return total
