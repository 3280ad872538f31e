"""Paint a procedural thorax phantom: a chest of analytic shapes whose anatomy is drawn at random from a seed.

The anatomy is drawn first (`anatomy.draw_anatomy`) and painted here, from the skin inwards. The same seed therefore
gives the same anatomy on any grid; only the noise depends on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conventions import InputError

from .anatomy import HU_FAT, HU_LUNG, VERTEBRAE, Anatomy, Chest, draw_anatomy
from .shapes import Box, Canvas, Column, Ellipsoid, Part, Pose, Vector

HU_SURROUND = -1000.0
"""Air around the body."""
HU_MEDIASTINUM = -15.0
"""Fat, nodes and oesophagus between the lungs, mixed."""
HU_BELLY = -70.0
"""Fat between the organs of the belly, with the vessels in it."""
HU_CARTILAGE = 110.0
"""Rib cartilage."""
HU_DISC = 85.0
"""Disc between vertebrae."""
HU_CORTEX = 700.0
"""Shell of bones, blurred over a voxel or two."""
HU_MARROW = 200.0
"""Spongy inside of bones."""

NOISE_HU = 12.0
"""Standard deviation of the noise of each voxel."""
LUNG_TEXTURE_HU = 28.0
"""Standard deviation of the coarser texture of the lung."""

_RIB_END_RAD = (2.7, 2.62, 2.58, 2.55, 2.5, 2.45, 2.38, 2.28, 2.15, 2.0, 1.35, 0.85)
"""Angle round the chest at which the bone of each rib ends: 0 at the spine, pi at the sternum."""
_RIB_DROP_MM = (38.0, 60.0, 78.0, 90.0, 98.0, 102.0, 104.0, 104.0, 102.0, 100.0, 95.0, 80.0)
"""Drop of each rib from the spine to `_RIB_TURN_RAD` in a chest 230 mm high."""
_RIB_TURN_RAD = 2.6
"""Angle round the chest at which the drop of a rib is given."""
_CARTILAGE_RISE_MM = (-4.0, 0.0, 4.0, 12.0, 26.0, 44.0, 60.0, 52.0, 44.0, 36.0, 0.0, 0.0)
"""Rise of the cartilage of each rib to the sternum."""


@dataclass(frozen=True)
class ThoraxPhantom:
    """A phantom and the parts of it that are ellipsoids."""

    volume_hu: np.ndarray
    """float32 (D, H, W), HU: about -1000 to 900."""
    spacing: float
    """Edge of a voxel in mm."""
    ellipsoids: tuple[Ellipsoid, ...]
    """Ellipsoids that were painted, in the frame of the grid, first to last; value in HU. A later shape replaces an
    earlier one, and some are cut by their surroundings (heart and belly at the diaphragm)."""


class _Body:
    """The coordinates, distances and regions of a body on the grid of a canvas, each (D, H, W)."""

    def __init__(self, chest: Chest, pose: Pose, canvas: Canvas) -> None:
        rotation = pose.rotation.astype(np.float32)
        dx, dy, dz = (c - np.float32(s) for c, s in zip((canvas.x, canvas.y, canvas.z), pose.shift, strict=True))
        self.x, self.y, self.z = (rotation[0, i] * dx + rotation[1, i] * dy + rotation[2, i] * dz for i in range(3))
        self.chest, self.canvas, self.pose = chest, canvas, pose
        self.level = Column.level(self.z)
        radius = chest.body.scaled_radius(self.x, self.y, self.level)
        self.to_skin = chest.body.distance(self.x, self.y, self.level, radius)
        self.cage_radius = chest.cage.scaled_radius(self.x, self.y, self.level)
        self.to_cage = chest.cage.distance(self.x, self.y, self.level, self.cage_radius)
        self.to_diaphragm = chest.diaphragm(self.x, self.y, self.cage_radius) - self.z
        cavity = canvas.coverage(self.to_cage + 1)
        self.above = cavity * canvas.coverage(self.to_diaphragm)
        self.below = cavity * canvas.coverage(3 - self.to_diaphragm)
        radius = chest.middle.scaled_radius(self.x, self.y, self.level)
        to_middle = chest.middle.distance(self.x, self.y, self.level, radius)
        # The lungs almost touch in front of the heart, along an oblique wedge of fat.
        oblique = np.float32(0.2) * np.minimum(self.y, 0)
        to_septum = np.abs(self.x - chest.middle.centre_x[self.level] + oblique) - np.maximum(oblique + 18, 2)
        self.lungs = self.above * canvas.coverage(-np.minimum(to_middle, to_septum))

    def box(self, low: Vector, high: Vector) -> Box:
        """Return the voxels of a box given in the frame of the body."""
        corners = [
            self.pose.apply((x, y, z)) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])
        ]
        return self.canvas.box(np.min(corners, axis=0), np.max(corners, axis=0))

    def shell(self, low: float, high: float) -> tuple[np.ndarray, ...]:
        """Find the voxels between two distances outside the cage.

        Returns:
            Their flat indices, angle round the chest in rad (0 at the spine, pi at the sternum; positive on the left),
            z in the body, distance to the cage and x from the midline in mm.
        """
        index = np.flatnonzero((self.to_cage > low) & (self.to_cage < high))
        level, cage = self.level.ravel()[index], self.chest.cage
        from_middle = self.x.ravel()[index] - cage.centre_x[level]
        across = from_middle / cage.half_width[level]
        along = (self.y.ravel()[index] - cage.centre_y[level]) / cage.half_depth[level]
        return index, np.arctan2(across, along), self.z.ravel()[index], self.to_cage.ravel()[index], from_middle

    def blend_at(self, index: np.ndarray, coverage: np.ndarray, value: np.ndarray | float) -> None:
        """Blend as `Canvas.blend` does, into voxels given by flat indices."""
        flat = self.canvas.volume.reshape(-1)
        flat[index] += coverage * (value - flat[index])


def _bone(canvas: Canvas, radius: np.ndarray, thickness: float, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute coverage and HU of a bone from the scaled distance to its axis (1 on the surface) and its thickness."""
    coverage = canvas.coverage((radius - 1) * np.float32(thickness))
    hu = density * (HU_MARROW + (HU_CORTEX - HU_MARROW) * np.clip(radius, 0, 1) ** 3)
    return coverage, hu.astype(np.float32)


def _paint_ribs(body: _Body, anatomy: Anatomy) -> None:
    """Paint twelve pairs of ribs, flat bands on the chest wall that drop from the spine to the front, and cartilage."""
    index, angle, z, depth, _ = body.shell(-2, 10)
    angle = np.abs(angle)
    turn = np.minimum(angle / _RIB_TURN_RAD, 1.1)
    steepness = 0.7 * turn + 0.3 * np.sin(turn * (np.pi / 2)) ** 2
    tops, thickness = body.chest.vertebra_tops, 4.2 * body.chest.scale
    for rib, (end, fall, rise) in enumerate(zip(_RIB_END_RAD, _RIB_DROP_MM, _CARTILAGE_RISE_MM, strict=True)):
        fall *= anatomy.rib_drop * body.chest.height / 230
        climb = rise * np.clip((angle - end) / (2.95 - end), 0, 1)
        height = (z - (tops[rib + 1] - 4) + fall * steepness - climb) / anatomy.rib_half_height
        near = np.flatnonzero((np.abs(height) < 1.6) & (angle > 0.2) & (angle < (2.95 if rib < 10 else end)))
        radius = np.hypot(height[near], (depth[near] - 4) / thickness)
        coverage, hu = _bone(body.canvas, radius, thickness, 1.5 * body.chest.bone)
        hu = np.where(angle[near] < end, hu, HU_CARTILAGE)
        body.blend_at(index[near], coverage, hu.astype(np.float32))


def _paint_sternum(body: _Body) -> None:
    """Paint the sternum: a plate in front of the chest wall, wide at the top."""
    chest = body.chest
    index, angle, z, depth, x = body.shell(-4, 14)
    u = (z - chest.z(0)) / chest.height
    half_width = np.where(u > 0.78, 14 + (u - 0.78) * 90, 15.0) * chest.scale
    ends = np.abs((u - 0.6) / 0.29) ** 8
    sternum = np.flatnonzero((np.abs(angle) > 2.2) & (np.abs(u - 0.6) < 0.33))
    radius = np.sqrt((x / half_width)[sternum] ** 4 + ((depth[sternum] - 5) / 6) ** 2 + ends[sternum])
    body.blend_at(index[sternum], *_bone(body.canvas, radius, 5.5, 0.7 * chest.bone))


def _paint_scapulae(body: _Body, tip: float) -> None:
    """Paint the scapulae: thin triangles on the back of the chest wall, their lower tips `tip` rad from the spine."""
    chest = body.chest
    index, angle, z, depth, _ = body.shell(10, 24)
    u, angle = (z - chest.z(0)) / chest.height, np.abs(angle)
    down = np.clip((0.93 - u) / 0.5, 0, 1)
    inner, outer = 0.55 + (tip - 0.55) * down**2, 1.25 + (tip + 0.12 - 1.25) * down
    blade = np.flatnonzero((u < 0.93) & (u > 0.43) & (angle > inner) & (angle < outer))
    body.blend_at(index[blade], body.canvas.coverage(np.abs(depth[blade] - 17) - 2.5), 0.6 * HU_CORTEX * chest.bone)


def _paint_vertebrae(body: _Body, disc: float) -> None:
    """Paint vertebral bodies with dense end plates, and discs; `disc` is the share of the disc in a level."""
    chest, s = body.chest, body.chest.scale
    tops = chest.vertebra_tops
    middle = float(chest.cage.back.max())
    box = body.box((-40.0, middle - 120, float(tops[-1])), (40.0, middle + 10, float(tops[0])))
    x, y, z = body.x[box], body.y[box], body.z[box]
    level = np.interp(z, tops[::-1], np.arange(VERTEBRAE, -1, -1)).astype(np.float32)
    size = s * (12.5 + 0.55 * level)
    waist = 1 - 0.1 * np.cos((level % 1 - 0.5) * np.pi) ** 2
    spine_y = chest.cage.back[body.level[box]] - np.float32(24 * s)
    radius = np.hypot((x - chest.spine_x(z)) / (size * 1.12 * waist), (y - spine_y) / (size * 0.92 * waist))
    to_plate = np.abs(level % 1 - 0.5) / (0.5 - disc / 2)
    shell = np.maximum(np.clip(radius, 0, 1), np.clip(to_plate, 0, 1)) ** 6
    hu = chest.bone * (HU_MARROW + (HU_CORTEX - HU_MARROW) * 0.45 * shell)
    hu = np.where(to_plate > 1, HU_DISC, hu)
    covered = body.canvas.coverage((radius - 1) * size) * ((level > 0) & (level < VERTEBRAE))
    body.canvas.blend(covered.astype(np.float32), hu, box)


def _paint(body: _Body, anatomy: Anatomy) -> list[Ellipsoid]:
    """Paint everything but the noise, from the skin inwards, and return the ellipsoids in the frame of the grid."""
    canvas, ellipsoids = body.canvas, []

    def paint(parts: Sequence[Part], within: np.ndarray | None = None) -> None:
        for part in parts:
            moved = part.moved(body.pose)
            canvas.paint(moved, within)
            if isinstance(moved, Ellipsoid):
                ellipsoids.append(moved)

    canvas.blend(canvas.coverage(body.to_skin), HU_FAT)
    paint(anatomy.breasts)
    canvas.blend(canvas.coverage(body.to_skin + np.float32(anatomy.chest.fat + 2)), anatomy.muscle_hu)
    canvas.blend(canvas.coverage(body.to_cage), HU_MEDIASTINUM)
    canvas.blend(body.below, HU_BELLY)
    paint(anatomy.belly, body.below)
    canvas.blend(body.lungs, anatomy.lung_hu + np.float32(anatomy.lung_hu_per_mm) * body.y)
    paint(anatomy.in_lungs, body.lungs)
    paint(anatomy.heart, body.above)
    paint(anatomy.mediastinum)
    _paint_ribs(body, anatomy)
    _paint_sternum(body)
    _paint_scapulae(body, anatomy.scapula_tip)
    _paint_vertebrae(body, anatomy.disc_share)
    paint(anatomy.vertebral_processes)
    paint(anatomy.shoulders, canvas.coverage(body.to_skin + 6))
    return ellipsoids


def _add_noise(body: _Body, rng: np.random.Generator) -> None:
    """Add scanner noise everywhere, and a coarser texture in the lungs."""
    volume = body.canvas.volume
    noise = rng.standard_normal(volume.shape, dtype=np.float32)
    coarse = noise
    for axis in range(3):
        coarse = (coarse + np.roll(coarse, 1, axis) + np.roll(coarse, -1, axis)) * np.float32(3**-0.5)
    volume += coarse * body.lungs * (np.float32(LUNG_TEXTURE_HU) * (volume < HU_LUNG + 250))
    volume += noise * np.float32(NOISE_HU)


def thorax_phantom(seed: int, shape: Sequence[int] = (128, 128, 128), spacing: float = 2.5) -> ThoraxPhantom:
    """Make a chest with random anatomy; the same seed gives the same anatomy on every grid.

    Args:
        seed: seed from 0 up; the same seed and grid give the same volume to the bit.
        shape: voxels along (D, H, W), increasing to the feet, to the back and to the patient's left.
        spacing: edge of a voxel in mm. The body is cut where it leaves the grid.

    Returns:
        The volume in HU, centred on the isocentre, and its ellipsoids.

    Raises:
        InputError: where the seed is negative, the shape is not three positive integers or the spacing not positive.
    """
    if seed < 0:
        raise InputError(f"the seed of a phantom is 0 or a positive integer, not {seed}")
    canvas = Canvas(shape, spacing, HU_SURROUND)
    for_anatomy, for_noise = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    anatomy = draw_anatomy(for_anatomy)
    body = _Body(anatomy.chest, anatomy.pose, canvas)
    ellipsoids = _paint(body, anatomy)
    _add_noise(body, for_noise)
    return ThoraxPhantom(canvas.volume, canvas.spacing, tuple(ellipsoids))
