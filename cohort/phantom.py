"""Procedural thorax phantom: a chest of analytic shapes whose anatomy is drawn at random from a seed.

First everything is drawn (`_draw_chest` and the functions that return shapes), then it is painted, from the skin
inwards. The same seed therefore gives the same anatomy on any grid; only the texture noise depends on the grid.

The frame of the body is LPS in mm like the grid's; a `Pose` lays the body into the grid. Heights are also given as a
fraction u of the rib cage: 0 at the lowest recess of the lungs, 1 at their apices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.ndimage import uniform_filter

from conventions import InputError

from .shapes import Box, Canvas, Column, Ellipsoid, Pose, Tube, Vector

HU_SURROUND = -1000.0
"""Air around the body."""
HU_LUNG = -850.0
"""Lung between its vessels; each case adds up to 110."""
HU_AIRWAY = -990.0
"""Air in trachea and bronchi."""
HU_GAS = -960.0
"""Gas in stomach and bowel."""
HU_FAT = -100.0
"""Fat under the skin, around the heart and in the belly."""
HU_MUSCLE = 50.0
"""Muscle."""
HU_GLAND = 10.0
"""Glandular tissue of the breast."""
HU_MEDIASTINUM = 5.0
"""Fat, nodes and oesophagus between the lungs, mixed."""
HU_BLOOD = 42.0
"""Blood without contrast medium."""
HU_LIVER = 55.0
"""Liver."""
HU_SOFT = 35.0
"""Other soft organs: spleen, stomach wall and content, bowel, airway wall, nodule."""
HU_CARTILAGE = 110.0
"""Rib cartilage."""
HU_DISC = 85.0
"""Disc between vertebrae."""
HU_CORTEX = 650.0
"""Shell of bones, blurred over a voxel or two."""
HU_MARROW = 200.0
"""Spongy inside of bones."""

NOISE_HU = 12.0
"""Standard deviation of the noise of each voxel."""
LUNG_TEXTURE_HU = 28.0
"""Standard deviation of the coarser texture of the lung."""

_VERTEBRAE = 17
"""Levels of the spine that are drawn: C7, T1 to T12, L1 to L4."""
_RIB_END_RAD = (2.7, 2.62, 2.58, 2.55, 2.5, 2.45, 2.38, 2.28, 2.15, 2.0, 1.35, 0.85)
"""How far round the chest each rib's bone reaches: 0 at the spine, pi at the breastbone."""
_RIB_DROP_MM = (38.0, 60.0, 78.0, 90.0, 98.0, 102.0, 104.0, 104.0, 102.0, 100.0, 95.0, 80.0)
"""How far each rib would drop from the spine to `_RIB_TURN_RAD` in a chest 230 mm high."""
_RIB_TURN_RAD = 2.6
_CARTILAGE_RISE_MM = (-4.0, 0.0, 4.0, 12.0, 26.0, 44.0, 60.0, 52.0, 44.0, 36.0, 0.0, 0.0)
"""How far each rib's cartilage climbs to the breastbone."""


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


@dataclass(frozen=True)
class _Chest:
    """The large measures of one patient, in mm, and the surfaces that follow from them."""

    top: float  # z of the lungs' apices
    height: float  # from the lowest recess of the lungs to the apices
    half_width: float  # of the rib cage, inside, where it is widest
    depth: float  # of the rib cage, inside, in the midline
    squareness: float
    taper: float  # exponent of the narrowing towards the apices
    kyphosis: float  # how far the upper spine comes forward of its furthest point
    scoliosis: float
    lean: float  # centre of the cage to the left of the spine
    sternum_slope: float  # how far the top of the breastbone lies behind its lower end
    wall: float  # thickness of the muscles at the side
    shoulder: float  # how far the shoulders stand out from the cage
    shoulder_top: float  # z above the apices where the shoulders end
    fat: float  # thickness of the fat at the side and in front
    fat_back: float
    belly: float  # how far the belly stands out
    dome_right: float  # height of the right dome above the lowest recess
    dome_left: float
    dome_tilt: float  # rise of the diaphragm from back to front, mm per mm
    mediastinum: float  # half width of the mediastinum
    bone: float  # factor on the HU of bones

    def z(self, u: float) -> float:
        return self.top - (1 - u) * self.height

    @property
    def scale(self) -> float:
        """Size of bones and vessels against an average patient."""
        return self.height / 235 * 0.5 + self.half_width / 130 * 0.5

    @cached_property
    def cage(self) -> Column:
        """Inner surface of the ribs."""
        u = np.array([-0.7, -0.3, 0.0, 0.2, 0.4, 0.6, 0.75, 0.87, 0.95, 1.0, 1.06])
        narrowing = np.array([0.9, 0.95, 0.99, 1.0, 0.97, 0.89, 0.79, 0.66, 0.52, 0.37, 0.1]) ** self.taper
        flat = self.depth / 2 - 8
        back = flat - self.kyphosis * ((u - 0.5) / 0.5) ** 2 * np.where(u > 0.5, 1, 0.45)
        front = flat - self.depth + self.sternum_slope * np.maximum(u - 0.1, 0) ** 1.5
        front = np.minimum(np.where(u > 0.9, front + (u - 0.9) * 320, front), back - 12)
        front -= np.where(u < 0.1, self.belly * (0.1 - u), 0)
        centre = self.lean + 0.5 * self.spine_x(self.z(0) + u * self.height)
        return Column(self.z(0) + u * self.height, centre, self.half_width * narrowing, front, back, self.squareness)

    @cached_property
    def body(self) -> Column:
        """Skin."""
        u = np.array([-0.7, -0.3, 0.0, 0.3, 0.5, 0.7, 0.85, 1.0])
        z = self.z(0) + u * self.height
        level = Column.level(z)
        side = self.cage.half_width[level] + self.wall + self.fat
        shouldered = self.half_width + self.wall + self.fat * 0.8 + self.shoulder
        side = side + np.array([0, 0, 0, 0.1, 0.3, 0.75, 1, 1]) * np.maximum(shouldered - side, 0)
        front = self.cage.front[level] - 14 - self.fat - np.array([1, 0.7, 0.2, 0, 0, 0, 0, 0]) * self.belly
        back = self.cage.back[level] + 34 + self.fat_back
        front[-1] = self.cage.back[level[-1]] - self.depth * 0.5 - 30 - 0.5 * self.fat
        neck_z, neck_back = self.top + self.shoulder_top, back[-1] - 16
        z = np.concatenate([z, [neck_z, neck_z + 22, neck_z + 60]])
        side = np.concatenate([side, [side[-1] * 0.9, 68 + self.fat, 58 + self.fat]])
        front = np.concatenate([front, neck_back - np.array([132, 128, 132]) - self.fat])
        back = np.concatenate([back, [neck_back, neck_back - 6, neck_back - 8]])
        return Column(z, np.full(z.shape, self.lean), side, front, back, 0.72)

    @cached_property
    def middle(self) -> Column:
        """The mediastinum without the heart: from the spine to the breastbone, narrow in front of the great vessels."""
        u = np.array([0.0, 0.3, 0.5, 0.65, 0.8, 1.0, 1.1])
        z = self.z(0) + u * self.height
        half_width = self.mediastinum * np.array([0.9, 0.8, 0.85, 0.95, 1.0, 1.05, 1.4])
        front = self.cage.front[Column.level(z)] + np.array([30, 26, 12, 10, 4, -10, -30])
        return Column(z, 0.6 * self.spine_x(z) + 2, half_width, front, self.spine_y(z) + 5, 0.5)

    def spine_x(self, z: np.ndarray | float) -> np.ndarray:
        """Centre of the vertebral bodies at heights z."""
        return self.scoliosis * np.sin((np.asarray(z) - self.z(0.5)) / self.height * 4)

    def spine_y(self, z: np.ndarray | float) -> np.ndarray:
        """Centre of the vertebral bodies at heights z."""
        return self.cage.back[Column.level(z)] - 24 * self.scale

    @cached_property
    def vertebra_tops(self) -> np.ndarray:
        """z of the upper faces of the vertebrae C7, T1, ..., L4, and of the lower face of the last."""
        pitch = np.linspace(0.78, 1.28, _VERTEBRAE)
        pitch *= (self.height + 14) / pitch[1:13].sum()
        return self.top + 12 + pitch[0] - np.concatenate([[0], np.cumsum(pitch)])

    def diaphragm(self, x: np.ndarray | float, y: np.ndarray | float, scaled_radius: np.ndarray) -> np.ndarray:
        """z of the diaphragm above (x, y), which lies at `scaled_radius` in the cage: it joins the wall all round."""
        from_middle = (x - np.float32(self.lean)) / np.float32(self.half_width)
        to_left = np.clip(from_middle * 2 + 0.5, 0, 1)
        peak = np.float32(self.dome_right) + to_left * np.float32(self.dome_left - self.dome_right)
        rounded = 1 - 0.7 * (np.abs(from_middle) - 0.42) ** 2
        inner = np.minimum(scaled_radius, 1) ** 2
        tilt = np.float32(self.dome_tilt) * (y + np.float32(0.1 * self.depth))
        return np.float32(self.z(0)) + peak * rounded * np.sqrt(1 - inner * inner) - tilt * (1 - 0.5 * inner)

    def in_lung(self, point: Vector) -> bool:
        """Whether a point lies well inside a lung (the heart is not looked at)."""
        x, y, z = point
        level = Column.level(z)
        radius = self.cage.scaled_radius(x, y, level)
        clear = self.middle.scaled_radius(x, y, level) > 1
        return bool(radius < 0.93 and clear and z > self.diaphragm(x, y, radius) + 6)


def _draw_chest(rng: np.random.Generator) -> _Chest:
    """Draw the measures of a patient; stature, build and age tie those that go together."""
    stature, build, age = rng.normal(0, 1, 3).clip(-2, 2)
    inspiration = rng.uniform(-1, 1)
    fat = float(np.clip(15 + 7 * build + rng.normal(0, 3), 4, 36))
    dome = 62 - 14 * inspiration + 4 * build + rng.normal(0, 6)
    return _Chest(
        top=rng.normal(112, 8),
        height=float(np.clip(232 + 15 * stature + 12 * inspiration + rng.normal(0, 6), 195, 275)),
        half_width=float(np.clip(129 + 6 * stature + 3 * build + rng.normal(0, 4), 110, 148)),
        depth=float(np.clip(166 + 7 * stature + 7 * age + 4 * build + rng.normal(0, 6), 135, 205)),
        squareness=rng.uniform(0.55, 0.8),
        taper=rng.uniform(0.85, 1.15),
        kyphosis=float(np.clip(30 + 7 * age + rng.normal(0, 4), 14, 50)),
        scoliosis=rng.normal(0, 3.5),
        lean=rng.normal(0, 3),
        sternum_slope=rng.uniform(40, 72),
        wall=float(np.clip(15 + 2 * stature + rng.normal(0, 2), 9, 22)),
        shoulder=rng.uniform(4, 26),
        shoulder_top=rng.uniform(8, 44),
        fat=fat,
        fat_back=fat * rng.uniform(0.4, 0.8),
        belly=float(np.clip(10 + 12 * build, 0, 35)),
        dome_right=dome,
        dome_left=dome - rng.uniform(-4, 22),
        dome_tilt=rng.uniform(0.08, 0.28),
        mediastinum=float(np.clip(29 + 2.5 * build + 1.5 * age + rng.normal(0, 2), 23, 38)),
        bone=float(np.clip(1 - 0.12 * age + rng.normal(0, 0.08), 0.65, 1.35)),
    )


def _path(points: Sequence[Vector], radii: Sequence[float], value: float) -> list[Tube]:
    """Tubes through points, with a radius at each."""
    pairs = zip(points, points[1:], radii, radii[1:], strict=False)
    return [Tube(start, end, (r0, r1), value) for start, end, r0, r1 in pairs]


def _mirrored(point: Vector, side: float, middle: float = 0.0) -> Vector:
    """A point given for the left (side 1), or its mirror image (side -1)."""
    return middle + side * point[0], point[1], point[2]


def _directions(long_axis: Vector) -> tuple[Vector, Vector, Vector]:
    """Three orthonormal directions, the first along `long_axis`."""
    basis, _ = np.linalg.qr(np.column_stack([long_axis, (0.0, 1.0, 0.3), (0.0, 0.2, 1.0)]))
    first, second, third = (tuple(float(v) for v in column) for column in basis.T)
    return first, second, third  # type: ignore[return-value]


def _heart(chest: _Chest, rng: np.random.Generator, blood: float) -> list[Ellipsoid]:
    """Fat, ventricles, right atrium, left atrium; the apex points to the left, to the front and down."""
    size = chest.scale * rng.normal(1.0, 0.09)
    x = chest.lean + rng.uniform(14, 30)
    level = Column.level(chest.z(0.4))
    y = float(chest.cage.front[level]) + 58 * size + rng.uniform(-2, 8)
    z = chest.z(0) + 0.42 * (chest.dome_right + chest.dome_left) + 38 * size
    axes = _directions((rng.uniform(0.75, 0.9), -0.35, -rng.uniform(0.3, 0.65)))
    ventricles = Ellipsoid((x, y, z), (62 * size, 44 * size, 45 * size), blood + 3, axes)
    pericardium = Ellipsoid((x, y, z), (66 * size, 49 * size, 49 * size), -40.0, axes)
    right = Ellipsoid((x - 42 * size, y + 6, z + 6), (29 * size, 33 * size, 42 * size), blood)
    left = Ellipsoid((x - 14, y + 32 * size, z + 24 * size), (38 * size, 25 * size, 28 * size), blood)
    return [pericardium, ventricles, right, left]


def _great_vessels(chest: _Chest, heart: Ellipsoid, rng: np.random.Generator, blood: float) -> list[Tube]:
    """Aorta, pulmonary trunk and arteries, upper and lower vena cava, vessels of the neck."""
    x, y, z = heart.centre
    r = 13.5 * chest.scale * rng.uniform(0.85, 1.25)
    top = chest.z(0.8) + rng.uniform(-8, 6)
    back = [float(chest.spine_y(at)) for at in (top, chest.z(0.4), chest.z(-0.1))]
    side = rng.uniform(20, 30)
    aorta = [
        (x - 20, y, z + 20), (x - 34, y - 4, top - 40), (x - 26, y + 2, top - 12), (x - 8, y + 14, top),
        (side - 6, back[0] - 30, top - 4), (side + 2, back[0] - 14, top - 20), (side, back[1] - 18, chest.z(0.4)),
        (side - 14, back[2] - 30, chest.z(-0.1)), (4.0, back[2] - 34, chest.z(-0.6)),
    ]  # fmt: skip
    root = z + 36 * chest.scale
    trunk = [(x - 8, y - 6, z + 20), (x + 2, y, root), (x + 4, y + 26, root + 12)]
    hila = [_path([trunk[-1], _hilum(chest, s)], [0.85 * r, 0.6 * r], blood)[0] for s in (-1.0, 1.0)]
    right = x - 52 * chest.scale
    cava = [(right + 8, y + 12, chest.z(1.05)), (right, y + 12, top - 30), (right, y + 14, z + 20)]
    lower = [(right + 6, y + 22, z - 20), (right + 12, y + 30, chest.z(-0.4))]
    neck = [
        _path([(offset * 0.5, y + 12, top), (offset, back[0] - 45, chest.top + 50)], [5.5, 5.0], blood)[0]
        for offset in (-26.0, 8.0, 28.0)
    ]
    return [
        *_path(aorta, [r * 1.15, r * 1.15, r * 1.08, r, r * 0.95, r * 0.92, r * 0.88, r * 0.8, r * 0.75], blood),
        *_path(trunk, [r, r, 0.9 * r], blood),
        *hila,
        *_path(cava, [8.0, 9.5, 10.5], blood),
        *_path(lower, [11.0, 11.0], blood),
        *neck,
    ]


def _hilum(chest: _Chest, side: float) -> Vector:
    """Where vessels and bronchi enter a lung: side -1 right, 1 left."""
    z = chest.z(0.56) + 6 * side
    return chest.lean + side * (chest.mediastinum + 12), float(chest.spine_y(z)) - 34, z


def _airways(chest: _Chest, rng: np.random.Generator) -> list[Tube]:
    """Trachea, main bronchi and the stems of the lobes: first their walls, then their air."""
    r = 8.5 * chest.scale * rng.uniform(0.85, 1.15)
    carina_z = chest.z(0.68)
    shift = rng.normal(0, 2) + chest.lean
    top = (shift, float(chest.spine_y(chest.top)) - 30, chest.top + 70)
    carina = (shift - 3, float(chest.spine_y(carina_z)) - 30, carina_z)
    lumen = _path([top, carina], [r, r], HU_AIRWAY)
    for side, drop in ((-1.0, 24.0), (1.0, 20.0)):
        hilum = _hilum(chest, side)
        entry = (hilum[0] - side * 8, hilum[1] + 4, carina_z - drop)
        lower = (hilum[0] + side * 14, hilum[1] + 8, hilum[2] - 34)
        upper = (hilum[0] + side * 10, hilum[1] - 6, hilum[2] + 26)
        lumen += _path([carina, entry, lower], [0.75 * r, 0.65 * r, 0.3 * r], HU_AIRWAY)
        lumen += _path([entry, upper], [0.45 * r, 0.25 * r], HU_AIRWAY)
    walls = [Tube(t.start, t.end, (t.radii[0] + 1.5, t.radii[1] + 1.5), HU_SOFT) for t in lumen]
    return walls + lumen


def _lung_vessels(chest: _Chest, rng: np.random.Generator, blood: float) -> list[Tube]:
    """A tree of vessels in each lung, grown from the hilum until it would leave the lung."""
    tubes: list[Tube] = []

    def grow(start: Vector, direction: np.ndarray, length: float, radius: float, generation: int) -> None:
        for _ in range(3):
            end = tuple(float(v) for v in start + direction * length)
            if chest.in_lung(end):  # type: ignore[arg-type]
                break
            length *= 0.55
        else:
            return
        tubes.append(Tube(start, end, (radius, 0.8 * radius), blood))  # type: ignore[arg-type]
        if generation < 5:
            for _ in range(2):
                turned = direction + rng.normal(0, 0.42, 3)
                turned /= np.linalg.norm(turned)
                grow(end, turned, length * rng.uniform(0.75, 1.0), 0.74 * radius, generation + 1)  # type: ignore[arg-type]

    for side in (-1.0, 1.0):
        hilum = _hilum(chest, side)
        for out, forward, up in ((0.6, -0.4, 0.9), (0.7, 0.4, 0.8), (0.9, -0.7, 0.1), (0.9, 0.5, 0.0),
                                 (0.5, -0.5, -0.8), (0.7, 0.1, -0.9), (0.4, 0.5, -0.9)):  # fmt: skip
            direction = np.array([side * out, forward, up]) + rng.normal(0, 0.15, 3)
            grow(hilum, direction / np.linalg.norm(direction), 30 * chest.scale, 4.2 * chest.scale, 0)
    return tubes


def _nodules(chest: _Chest, rng: np.random.Generator) -> list[Ellipsoid]:
    """One nodule in two cases of five, none in the others."""
    wanted = rng.random() < 0.4
    for _ in range(40):
        side = rng.choice((-1.0, 1.0))
        u, out, forward = rng.uniform(0.3, 0.9), rng.uniform(0.35, 0.85), rng.uniform(-0.6, 0.6)
        centre = (side * out * chest.half_width, forward * chest.depth / 2, chest.z(u))
        radii = rng.uniform(4, 14) * rng.uniform(0.8, 1.2, 3)
        if wanted and chest.in_lung(centre):
            return [Ellipsoid(centre, (float(radii[0]), float(radii[1]), float(radii[2])), HU_SOFT)]
    return []


def _belly(chest: _Chest, rng: np.random.Generator) -> list[Ellipsoid]:
    """Bowel and kidneys, liver, spleen, stomach with its gas bubble, gas in the bowel; cut by the diaphragm."""
    w, d = chest.half_width, chest.depth
    right, left = chest.z(0) + chest.dome_right, chest.z(0) + chest.dome_left
    bubble = (chest.lean + 0.42 * w + rng.uniform(-10, 10), -0.12 * d + rng.uniform(-8, 8))
    thickness = rng.uniform(8, 18)
    organs = [
        Ellipsoid((0.0, -0.1 * d, chest.z(-0.4)), (0.8 * w, 0.36 * d, 75.0), HU_SOFT - 15),
        Ellipsoid((-0.42 * w, 0.0, right - 62), (0.66 * w, 0.56 * d, 76.0), HU_LIVER + rng.normal(0, 8)),
        Ellipsoid((0.02 * w, -0.22 * d, min(right, left) - 34), (0.45 * w, 0.3 * d, 34.0), HU_LIVER),
        Ellipsoid((0.66 * w, 0.2 * d, left - 52), (26.0, 42.0, rng.uniform(40, 58)), HU_SOFT + 12),
        Ellipsoid((bubble[0], bubble[1], left - 44), (48.0, 46.0, 42.0), HU_SOFT - 10),
        Ellipsoid((bubble[0], bubble[1], left - 13 - thickness), (30.0, 28.0, thickness), HU_GAS),
    ]
    for _ in range(rng.integers(0, 4)):
        at = (rng.uniform(0.0, 0.75) * w, rng.uniform(-0.45, -0.1) * d, left - rng.uniform(70, 130))
        organs.append(Ellipsoid(at, (rng.uniform(10, 26), rng.uniform(8, 18), rng.uniform(8, 16)), HU_GAS + 100))
    return organs


def _breasts(chest: _Chest, rng: np.random.Generator) -> list[Ellipsoid]:
    """In half of the cases: fat with a gland in it on each side."""
    wanted, size = rng.random() < 0.5, rng.uniform(0.5, 1.0) + 0.012 * chest.fat
    gland, z = rng.uniform(0.35, 0.7), chest.z(rng.uniform(0.28, 0.42))
    front = float(chest.body.front[Column.level(z)])
    parts = []
    for side in (-1.0, 1.0):
        at = _mirrored((0.52 * chest.half_width, front + 14, z), side, chest.lean)
        semi_axes = (56 * size, 38 * size + 6, 54 * size)
        inner = (gland * semi_axes[0], gland * semi_axes[1], gland * semi_axes[2])
        parts += [Ellipsoid(at, semi_axes, HU_FAT), Ellipsoid((at[0], at[1] - 6, at[2]), inner, HU_GLAND)]
    return parts if wanted else []


def _vertebral_processes(chest: _Chest) -> list[Tube]:
    """Arches, transverse and spinous processes of the vertebrae."""
    tubes = []
    value, s = 420 * chest.bone, chest.scale
    for top, below in zip(chest.vertebra_tops, chest.vertebra_tops[1:], strict=False):
        z = 0.6 * top + 0.4 * below
        x, y = float(chest.spine_x(z)), float(chest.spine_y(z))
        behind = (x, y + 34 * s, z - 4)
        tubes += _path([behind, (x, y + 52 * s, z - 18)], [4.0 * s, 3.5 * s], value)
        for side in (-1.0, 1.0):
            pedicle = (x + side * 13 * s, y + 12 * s, z)
            joint = (x + side * 15 * s, y + 24 * s, z - 2)
            tip = (x + side * 31 * s, y + 32 * s, z)
            tubes += _path([pedicle, joint, behind], [4.5 * s, 5.0 * s, 3.0 * s], value)
            tubes += _path([joint, tip], [4.0 * s, 3.5 * s], value)
    return tubes


def _shoulder_girdle(chest: _Chest, rng: np.random.Generator) -> list[Tube | Ellipsoid]:
    """Collar bones, spines and heads of the shoulder blades, heads of the arms."""
    parts: list[Tube | Ellipsoid] = []
    rise, out = rng.uniform(8, 40), chest.half_width + rng.uniform(4, 20)
    value, s = 480 * chest.bone, chest.scale
    notch = chest.z(0.93)
    front = float(chest.cage.front[Column.level(chest.z(0.86))]) - 2
    back = float(chest.cage.back[Column.level(chest.z(0.85))])
    for side in (-1.0, 1.0):
        wobble = rng.normal(0, 4)
        clavicle = [
            (20.0, front, notch), (50.0, front - 2, notch + 0.25 * rise + 3),
            (90.0, front + 30, notch + 0.7 * rise), (out - 8, front + 52, notch + rise + wobble),
        ]  # fmt: skip
        spine = [(70.0, back + 18, chest.z(0.8)), (out - 12, back - 8, notch + rise - 8 + wobble)]
        joint = (out - 6, back - 34, notch + rise - 16 + wobble)
        at = [_mirrored(point, side, chest.lean) for point in (*clavicle, *spine, joint)]
        parts += _path(at[:4], [7.5 * s, 5.5 * s, 5.0 * s, 5.5 * s], value)
        parts += _path(at[4:6], [3.5 * s, 5.0 * s], value)
        parts += _path([at[6], at[5]], [9.0 * s, 6.0 * s], 0.7 * value)
        arm = _mirrored((out + 20, back - 40, notch + rise + wobble), side, chest.lean)
        parts.append(Ellipsoid(arm, (22 * s, 22 * s, 24 * s), 300 * chest.bone))
    return parts


class _Body:
    """The fields of the body on the grid of a canvas: coordinates, distances and regions, each (D, H, W)."""

    def __init__(self, chest: _Chest, pose: Pose, canvas: Canvas) -> None:
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
        self.above = canvas.coverage(self.to_diaphragm)
        self.below = cavity * canvas.coverage(3 - self.to_diaphragm)
        radius = chest.middle.scaled_radius(self.x, self.y, self.level)
        to_middle = chest.middle.distance(self.x, self.y, self.level, radius)
        self.lungs = cavity * self.above * canvas.coverage(-to_middle)

    def box(self, low: Vector, high: Vector) -> Box:
        """Voxels of a box given in the frame of the body."""
        corners = [
            self.pose.apply((x, y, z)) for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])
        ]
        return self.canvas.box(np.min(corners, axis=0), np.max(corners, axis=0))

    def shell(self, low: float, high: float) -> tuple[np.ndarray, ...]:
        """Voxels between two distances outside the cage.

        Returns:
            Their flat indices, angle round the chest in rad (0 at the spine, pi at the breastbone; positive on the
            left), z in the body, distance to the cage and x from the midline in mm.
        """
        index = np.flatnonzero((self.to_cage > low) & (self.to_cage < high))
        level, cage = self.level.ravel()[index], self.chest.cage
        from_middle = self.x.ravel()[index] - cage.centre_x[level]
        across = from_middle / cage.half_width[level]
        along = (self.y.ravel()[index] - cage.centre_y[level]) / cage.half_depth[level]
        return index, np.arctan2(across, along), self.z.ravel()[index], self.to_cage.ravel()[index], from_middle

    def blend_at(self, index: np.ndarray, coverage: np.ndarray, value: np.ndarray | float) -> None:
        """`Canvas.blend` for voxels given by flat indices."""
        flat = self.canvas.volume.reshape(-1)
        flat[index] += coverage * (value - flat[index])


def _bone(canvas: Canvas, radius: np.ndarray, thickness: float, density: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and HU of a bone from the scaled distance to its axis (1 on its surface) and its thickness in mm."""
    coverage = canvas.coverage((radius - 1) * np.float32(thickness))
    hu = density * (HU_MARROW + (HU_CORTEX - HU_MARROW) * np.clip(radius, 0, 1) ** 3)
    return coverage, hu.astype(np.float32)


def _paint_ribs(body: _Body, width: float, drop: float) -> None:
    """Twelve pairs of flat bands on the chest wall that drop from the spine to the front, and their cartilage."""
    index, angle, z, depth, _ = body.shell(-2, 10)
    angle = np.abs(angle)
    steepness = np.sin(np.minimum(angle / _RIB_TURN_RAD, 1.1) * (np.pi / 2)) ** 2
    tops, thickness = body.chest.vertebra_tops, 3.6 * body.chest.scale
    for rib, (end, fall, rise) in enumerate(zip(_RIB_END_RAD, _RIB_DROP_MM, _CARTILAGE_RISE_MM, strict=True)):
        fall *= drop * body.chest.height / 230
        climb = rise * np.clip((angle - end) / (2.95 - end), 0, 1)
        height = (z - (tops[rib + 1] - 4) + fall * steepness - climb) / width
        near = np.flatnonzero((np.abs(height) < 1.6) & (angle > 0.2) & (angle < (2.95 if rib < 10 else end)))
        radius = np.hypot(height[near], (depth[near] - 3.5) / thickness)
        coverage, hu = _bone(body.canvas, radius, thickness, body.chest.bone)
        hu = np.where(angle[near] < end, hu, HU_CARTILAGE)
        body.blend_at(index[near], coverage, hu.astype(np.float32))


def _paint_sternum_and_scapulae(body: _Body, tip: float) -> None:
    """The breastbone and the two blades: plates that follow the chest wall."""
    chest = body.chest
    index, angle, z, depth, x = body.shell(-4, 26)
    u = (z - chest.z(0)) / chest.height
    half_width = np.where(u > 0.78, 14 + (u - 0.78) * 90, 15.0) * chest.scale
    ends = np.abs((u - 0.6) / 0.29) ** 8
    sternum = np.flatnonzero((np.abs(angle) > 2.2) & (np.abs(u - 0.6) < 0.33))
    radius = np.sqrt((x / half_width)[sternum] ** 4 + ((depth[sternum] - 5) / 6) ** 2 + ends[sternum])
    body.blend_at(index[sternum], *_bone(body.canvas, radius, 5.5, 0.7 * chest.bone))

    angle = np.abs(angle)
    down = np.clip((0.93 - u) / 0.5, 0, 1)
    inner, outer = 0.55 + (tip - 0.55) * down**2, 1.25 + (tip + 0.12 - 1.25) * down
    blade = np.flatnonzero((u < 0.93) & (u > 0.43) & (angle > inner) & (angle < outer))
    radius = np.abs(depth[blade] - 17) / 3.5
    body.blend_at(index[blade], *_bone(body.canvas, radius, 3.5, 0.75 * chest.bone))


def _paint_spine(body: _Body, disc: float) -> None:
    """Vertebral bodies with dense end plates, and the discs between them; `disc` is the share of a disc in a level."""
    chest, s = body.chest, body.chest.scale
    tops = chest.vertebra_tops
    middle = float(chest.cage.back.max())
    box = body.box((-40.0, middle - 120, float(tops[-1])), (40.0, middle + 10, float(tops[0])))
    x, y, z = body.x[box], body.y[box], body.z[box]
    level = np.interp(z, tops[::-1], np.arange(_VERTEBRAE, -1, -1)).astype(np.float32)
    size = s * (12.5 + 0.55 * level)
    waist = 1 - 0.1 * np.cos((level % 1 - 0.5) * np.pi) ** 2
    spine_y = chest.cage.back[body.level[box]] - np.float32(24 * s)
    radius = np.hypot((x - chest.spine_x(z)) / (size * 1.12 * waist), (y - spine_y) / (size * 0.92 * waist))
    to_plate = np.abs(level % 1 - 0.5) / (0.5 - disc / 2)
    shell = np.maximum(np.clip(radius, 0, 1), np.clip(to_plate, 0, 1)) ** 6
    hu = chest.bone * (HU_MARROW + (HU_CORTEX - HU_MARROW) * 0.7 * shell)
    hu = np.where(to_plate > 1, HU_DISC, hu)
    covered = body.canvas.coverage((radius - 1) * size) * ((level > 0) & (level < _VERTEBRAE))
    body.canvas.blend(covered.astype(np.float32), hu, box)


def _texture(rng: np.random.Generator, body: _Body) -> Iterator[np.ndarray]:
    """Noise to add, in HU: the scanner's everywhere, and a coarser one in the lungs."""
    noise = rng.standard_normal(body.x.shape, dtype=np.float32)
    coarse = uniform_filter(noise, 3, mode="nearest") * np.float32(27**0.5)
    yield noise * np.float32(NOISE_HU)
    yield coarse * (body.lungs * np.float32(LUNG_TEXTURE_HU))


def thorax_phantom(
    seed: int, shape: Sequence[int] = (128, 128, 128), spacing: float = 2.5
) -> ThoraxPhantom:
    """Make a chest with random anatomy; the same seed gives the same anatomy on every grid.

    Args:
        seed: non-negative; same seed and grid, same volume to the bit.
        shape: voxels along (D, H, W), increasing to the feet, to the back and to the patient's left.
        spacing: edge of a voxel in mm. The body is cut where it leaves the grid.

    Returns:
        The volume in HU, centred on the isocentre, and its ellipsoids.

    Raises:
        InputError: if the seed is negative, shape is not three positive integers or spacing is not positive.
    """
    if seed < 0:
        raise InputError(f"The seed of a phantom is 0 or a positive integer, not {seed}.")
    canvas = Canvas(shape, spacing, HU_SURROUND)
    anatomy_seed, texture_seed = np.random.SeedSequence(seed).spawn(2)
    rng = np.random.default_rng(anatomy_seed)
    chest = _draw_chest(rng)
    angles, shift = rng.normal(0, (2.0, 1.2, 2.5)), rng.normal(0, (5.0, 5.0, 4.0))
    pose = Pose((angles[0], angles[1], angles[2]), (shift[0], shift[1], shift[2]))
    blood = HU_BLOOD + rng.normal(0, 5) + (rng.uniform(40, 180) if rng.random() < 0.25 else 0)
    lung = HU_LUNG + rng.uniform(-20, 90)
    muscle = HU_MUSCLE + rng.normal(0, 6)
    lung_to_back = rng.uniform(0.1, 0.5)
    rib_width, rib_drop, disc, tip = rng.uniform((5.4, 0.8, 0.16, 0.95), (7.2, 1.2, 0.26, 1.25))
    breasts, organs, heart = _breasts(chest, rng), _belly(chest, rng), _heart(chest, rng, blood)
    vessels = _great_vessels(chest, heart[1], rng, blood)
    lung_vessels, nodules = _lung_vessels(chest, rng, blood), _nodules(chest, rng)
    airways, girdle = _airways(chest, rng), _shoulder_girdle(chest, rng)

    painted: list[Ellipsoid] = []

    def paint(parts: Sequence[Ellipsoid | Tube], within: np.ndarray | None = None) -> None:
        for part in parts:
            moved = part.moved(pose)
            canvas.paint(moved, within)
            if isinstance(moved, Ellipsoid):
                painted.append(moved)

    body = _Body(chest, pose, canvas)
    skin = canvas.coverage(body.to_skin)
    paint(breasts)
    canvas.blend(skin, HU_FAT)
    paint(breasts[1::2])
    canvas.blend(canvas.coverage(body.to_skin + np.float32(chest.fat + 2)), muscle)
    canvas.blend(canvas.coverage(body.to_cage), HU_MEDIASTINUM)
    canvas.blend(body.below, HU_FAT + 30)
    paint(organs, body.below)
    canvas.blend(body.lungs, lung + np.float32(lung_to_back) * body.y)
    paint(lung_vessels + nodules, body.lungs)
    paint(heart, body.above)
    paint(vessels)
    paint(airways)
    _paint_ribs(body, rib_width, rib_drop)
    _paint_sternum_and_scapulae(body, tip)
    _paint_spine(body, disc)
    paint(_vertebral_processes(chest))
    paint(girdle, canvas.coverage(body.to_skin + 6))
    for noise in _texture(np.random.default_rng(texture_seed), body):
        canvas.volume += noise
    return ThoraxPhantom(canvas.volume, canvas.spacing, tuple(painted))
