"""A thorax of additive ellipsoids: exact line integrals in float64, and the same thorax as voxels.

Nothing here uses the package `drr`. Positions are LPS mm with the isocentre at the origin. The voxels fill a cube of
320 mm whose axes are the project's (D to the feet, H to the back, W to the patient's left).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CUBE_MM = 320.0
"""Side of the cube that the thorax fills."""

SUBSAMPLES = 8
"""Points per side of a voxel at which it is averaged where a surface passes through it."""

_BLOCK = 4096
"""Number of voxels sampled at a time; their 8^3 points take 16 MiB."""


@dataclass(frozen=True)
class Ellipsoid:
    """A solid ellipsoid that adds attenuation to what it overlaps."""

    centre: np.ndarray
    """(3) LPS, mm."""
    to_unit: np.ndarray
    """(3, 3): takes an offset from the centre in mm to the space in which the ellipsoid is the unit ball."""
    mu: float
    """Added attenuation in 1/mm; negative for lung and airway."""

    @property
    def volume(self):
        return 4 / 3 * np.pi / abs(np.linalg.det(self.to_unit))

    @property
    def half_extent(self):
        """Half the sides of its bounding box along x, y, z in mm."""
        return np.linalg.norm(np.linalg.inv(self.to_unit), axis=1)


def ellipsoid(mu, centre, semi_axes, axes=((1, 0, 0), (0, 1, 0), (0, 0, 1))):
    """Make an ellipsoid whose semi-axes in mm lie along the orthonormal rows of `axes`."""
    to_unit = np.array(axes, dtype=float) / np.array(semi_axes, dtype=float)[:, None]
    return Ellipsoid(np.array(centre, dtype=float), to_unit, mu)


def turned(axis, degrees):
    """Return the right-handed rotation (3, 3) about x (0), y (1) or z (2)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[i, i] = rotation[j, j] = c
    rotation[j, i], rotation[i, j] = s, -s
    return rotation


def _ribs():
    """Yield ten pairs of ribs, each of three flat pieces that drop from the back (0 degrees) to the side and the front.

    The pieces are short because a rib curves: a straight one of 68 mm seen end-on in the oblique view would be a spike
    that no 2.5 mm voxel shows.
    """
    for number in range(10):
        z = 95.0 - 19.0 * number
        width, depth = 118.0 * np.sqrt(1 - (z / 165) ** 2), 80.0 * np.sqrt(1 - (z / 165) ** 2)
        for side in (1, -1):
            for degrees, drop in ((45, 0), (75, 10), (105, 22)):
                angle = np.radians(degrees)
                tangent = np.array([side * width * np.cos(angle), -depth * np.sin(angle), -22.0])
                tangent /= np.linalg.norm(tangent)
                outward = np.cross(tangent, [0, 0, 1.0])
                outward /= np.linalg.norm(outward)
                axes = (tangent, outward, np.cross(tangent, outward))
                centre = (side * width * np.sin(angle), depth * np.cos(angle), z - drop)
                yield ellipsoid(0.022, centre, (18.0, 4.0, 7.0), axes)


ELLIPSOIDS = (
    ellipsoid(0.0195, (0, 0, 0), (150, 106, 157)),  # body
    ellipsoid(-0.0145, (66, 4, 14), (46, 68, 106), turned(1, -4)),  # left lung
    ellipsoid(-0.0145, (-68, 4, 12), (50, 68, 104), turned(1, 4)),  # right lung
    ellipsoid(0.0110, (22, -28, -28), (54, 40, 46), turned(2, 25)),  # heart, over a part of the left lung
    ellipsoid(0.0009, (-55, 5, -118), (62, 62, 28)),  # liver
    ellipsoid(0.0010, (16, 32, 10), (11, 11, 85)),  # descending aorta
    ellipsoid(-0.0190, (0, 6, 105), (9, 8, 42), turned(0, 8)),  # trachea
    ellipsoid(0.0220, (0, -92, 25), (17, 6, 70), turned(0, 6)),  # sternum
    ellipsoid(0.0500, (58, -40, 70), (8, 7, 7)),  # nodules, one of them calcified
    ellipsoid(0.0170, (-75, 20, 30), (5, 5, 6)),
    ellipsoid(0.0190, (-60, -35, -25), (12, 9, 10), turned(1, 30)),
    ellipsoid(0.0160, (80, 40, 0), (4, 4, 4)),
    *(ellipsoid(0.0240, (0, 52, z), (17, 14, 9.5)) for z in range(-132, 133, 22)),  # vertebrae
    *(ellipsoid(0.0300, (0, 78, z - 9), (4, 10, 7), turned(0, 30)) for z in range(-88, 89, 22)),  # spinous processes
    *_ribs(),
)
"""The thorax: patient's left, front and head all differ from their opposites."""


def line_integrals(view, detector_shape, ellipsoids=ELLIPSOIDS):
    """Integrate exactly along the lines from the source through the centres of the pixels.

    Args:
        view: (4, 3) source, detector centre, column step, row step in mm, LPS.
        detector_shape: (rows, columns).

    Returns:
        (rows, columns) float64, dimensionless.
    """
    source, centre, column_step, row_step = np.asarray(view, dtype=np.float64)
    rows, columns = detector_shape
    row = (np.arange(rows) - (rows - 1) / 2)[:, None, None]
    column = (np.arange(columns) - (columns - 1) / 2)[None, :, None]
    rays = centre + row * row_step + column * column_step - source
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    total = np.zeros(detector_shape)
    for part in ellipsoids:
        start, direction = part.to_unit @ (source - part.centre), rays @ part.to_unit.T
        squared = np.sum(direction**2, axis=-1)
        # Half the chord squared times |direction|^4; the cross product spares b^2 - ac its cancellation.
        inside = squared - np.sum(np.cross(start, direction) ** 2, axis=-1)
        total += part.mu * 2 * np.sqrt(np.clip(inside, 0, None)) / squared
    return total


def voxelise(n, ellipsoids=ELLIPSOIDS):
    """Average the attenuation over each voxel of the cube, with 8^3 points where a surface may pass through the voxel.

    Args:
        n: voxels per side.

    Returns:
        (n, n, n) float64 along (D, H, W), in 1/mm.
    """
    spacing = CUBE_MM / n
    steps = np.array([[0, 0, -1.0], [0, 1, 0], [1, 0, 0]]) * spacing  # LPS of one step along D, H, W
    corners = np.stack(np.meshgrid(*[(-0.5, 0.5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    points = np.stack(np.meshgrid(*[(np.arange(SUBSAMPLES) + 0.5) / SUBSAMPLES - 0.5] * 3, indexing="ij"), axis=-1)
    points = points.reshape(-1, 3)
    mu = np.zeros((n, n, n))
    for part in ellipsoids:
        middle = part.centre @ steps.T / spacing**2 + (n - 1) / 2
        half = part.half_extent[[2, 1, 0]] / spacing + 1
        low, high = np.maximum(np.floor(middle - half).astype(int), 0), np.ceil(middle + half).astype(int) + 1
        box = mu[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        # In the unit space of the ellipsoid, the distance to the centre separates inside from outside.
        to_unit = steps @ part.to_unit.T
        index = [np.arange(a, a + size) - m for a, size, m in zip(low, box.shape, middle, strict=True)]
        d, h, w = (i[:, None] * t for i, t in zip(index, to_unit, strict=True))
        squared = sum((d[:, None, None, k] + h[None, :, None, k] + w[None, None, :, k]) ** 2 for k in range(3))
        reach = np.linalg.norm(corners @ to_unit, axis=1).max()
        full = squared <= max(0.0, 1 - reach) ** 2
        box[full] += part.mu
        surface = np.nonzero(~full & (squared < (1 + reach) ** 2))
        # |voxel + point|^2 <= 1 for all pairs at once: one matrix product.
        offsets = points @ to_unit
        right = np.vstack([2 * offsets.T, np.ones(len(offsets)), np.sum(offsets**2, axis=1)])
        voxels = d[surface[0]] + h[surface[1]] + w[surface[2]]
        left = np.column_stack([voxels, np.sum(voxels**2, axis=1), np.ones(len(voxels))])
        share = np.empty(len(voxels))
        for first in range(0, len(voxels), _BLOCK):
            block = left[first : first + _BLOCK] @ right <= 1
            share[first : first + _BLOCK] = np.count_nonzero(block, axis=1) / len(offsets)
        box[surface] += part.mu * share
    return mu
