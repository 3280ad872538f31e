"""Draw the anatomy of a thorax phantom: the measures of a random patient, and the organs that follow from them.

The frame of the body is LPS in mm. Heights are also given as a fraction u of the rib cage: 0 at the lowest recess of
the lungs, 1 at their apices. Everything random is drawn here, before anything is painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .shapes import Column, Ellipsoid, Part, Pose, Tube, Vector, vector

HU_LUNG = -850.0
"""Lung between its vessels, before the random offset of each case, -20 to 90."""
HU_AIRWAY = -990.0
"""Air in trachea and bronchi."""
HU_GAS = -960.0
"""Gas in stomach and bowel."""
HU_FAT = -100.0
"""Fat under the skin, around the heart and in the belly."""
HU_MUSCLE = 50.0
"""Muscle."""
HU_GLAND = -45.0
"""Glandular tissue of the breast, mixed with fat."""
HU_BLOOD = 42.0
"""Blood without contrast medium."""
HU_LIVER = 55.0
"""Liver."""
HU_SOFT = 35.0
"""Other soft organs: spleen, stomach wall and contents, bowel, airway wall, nodule."""

VERTEBRAE = 17
"""Number of vertebrae that are drawn: C7, T1 to T12, L1 to L4."""

_HANGING = ((1.0, 0.0, 0.0), (0.0, 0.91, -0.415), (0.0, 0.415, 0.91))
"""Axes of the breasts, tilted about x so that they stand out below and merge with the chest above."""


@dataclass(frozen=True)
class Chest:
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
        """Return the height in mm of a fraction u of the rib cage."""
        return self.top - (1 - u) * self.height

    @property
    def scale(self) -> float:
        """Size of bones and vessels relative to an average patient."""
        return self.height / 235 * 0.5 + self.half_width / 130 * 0.5

    @cached_property
    def cage(self) -> Column:
        """Inner surface of the ribs."""
        u = np.array([-0.7, -0.3, 0.0, 0.2, 0.4, 0.6, 0.75, 0.87, 0.95, 1.0, 1.05])
        narrowing = np.array([0.9, 0.95, 0.99, 1.0, 0.96, 0.87, 0.77, 0.67, 0.56, 0.44, 0.12]) ** self.taper
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
        z = np.concatenate([z, [neck_z, neck_z + 34, neck_z + 70]])
        side = np.concatenate([side, [side[-1] * 0.9, 68 + self.fat, 58 + self.fat]])
        front = np.concatenate([front, neck_back - np.array([132, 128, 132]) - self.fat])
        back = np.concatenate([back, [neck_back, neck_back - 6, neck_back - 8]])
        return Column(z, np.full(z.shape, self.lean), side, front, back, 0.72)

    @cached_property
    def middle(self) -> Column:
        """The mediastinum without the heart: from the spine to the breastbone, narrow in front of the great vessels."""
        u = np.array([0.0, 0.3, 0.5, 0.65, 0.8, 0.9, 0.96, 1.02])
        z = self.z(0) + u * self.height
        half_width = self.mediastinum * np.array([0.85, 0.8, 0.85, 0.95, 0.95, 1.0, 1.25, 1.9])
        front = self.cage.front[Column.level(z)] + np.array([40, 44, 38, 28, 16, 2, -10, -40])
        return Column(z, 0.6 * self.spine_x(z) + 2, half_width, front, self.cage.back[Column.level(z)] + 15, 0.4)

    def spine_x(self, z: np.ndarray | float) -> np.ndarray:
        """Return x of the centres of the vertebral bodies at heights z."""
        return self.scoliosis * np.sin((np.asarray(z) - self.z(0.5)) / self.height * 4)

    def spine_y(self, z: np.ndarray | float) -> np.ndarray:
        """Return y of the centres of the vertebral bodies at heights z."""
        return self.cage.back[Column.level(z)] - 24 * self.scale

    @cached_property
    def vertebra_tops(self) -> np.ndarray:
        """Heights z of the upper faces of the vertebrae C7, T1, ..., L4, and of the lower face of the last."""
        pitch = np.linspace(0.78, 1.28, VERTEBRAE)
        pitch *= (self.height + 14) / pitch[1:13].sum()
        return self.top + 12 + pitch[0] - np.concatenate([[0], np.cumsum(pitch)])

    def diaphragm(self, x: np.ndarray | float, y: np.ndarray | float, scaled_radius: np.ndarray) -> np.ndarray:
        """Return the height z of the diaphragm at (x, y), `scaled_radius` out in the cage, where it joins the wall."""
        from_middle = (x - np.float32(self.lean)) / np.float32(self.half_width)
        to_left = np.clip(from_middle * 2 + 0.5, 0, 1)
        peak = np.float32(self.dome_right) + to_left * np.float32(self.dome_left - self.dome_right)
        from_peak = np.abs(from_middle) - np.float32(0.45)
        rounded = 1 - np.where(from_peak < 0, np.float32(1.3), np.float32(0.4)) * from_peak**2
        inner = np.minimum(scaled_radius, 1) ** 2
        tilt = np.float32(self.dome_tilt) * (y + np.float32(0.1 * self.depth))
        return np.float32(self.z(0)) + peak * rounded * np.sqrt(1 - inner ** np.float32(1.6)) - tilt * (1 - 0.5 * inner)

    def in_lung(self, point: Vector) -> bool:
        """Return whether a point lies well inside a lung (the heart is ignored)."""
        x, y, z = point
        level = Column.level(z)
        radius = self.cage.scaled_radius(x, y, level)
        clear = self.middle.scaled_radius(x, y, level) > 1
        return bool(radius < 0.93 and clear and z > self.diaphragm(x, y, radius) + 6)


def draw_chest(rng: np.random.Generator) -> Chest:
    """Draw the measures of a patient; stature, build and age correlate those that belong together."""
    stature, build, age = rng.normal(0, 1, 3).clip(-2, 2)
    inspiration = rng.uniform(-1, 1)
    fat = float(np.clip(15 + 7 * build + rng.normal(0, 3), 4, 36))
    dome = 57 - 18 * inspiration + 5 * build + rng.normal(0, 7)
    return Chest(
        top=float(np.clip(110 + rng.normal(0, 13), 82, 138)),
        height=float(np.clip(232 + 18 * stature + 14 * inspiration + rng.normal(0, 6), 195, 275)),
        half_width=float(np.clip(132 + 7 * stature + 4 * build + rng.normal(0, 4), 106, 150)),
        depth=float(np.clip(173 + 8 * stature + 9 * age + 5 * build + rng.normal(0, 6), 130, 210)),
        squareness=rng.uniform(0.4, 0.75),
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
        dome_tilt=rng.uniform(0.12, 0.36),
        mediastinum=float(np.clip(29 + 2.5 * build + 1.5 * age + rng.normal(0, 2), 23, 38)),
        bone=float(np.clip(1 - 0.12 * age + rng.normal(0, 0.08), 0.65, 1.35)),
    )


def _path(points: Sequence[Vector], radii: Sequence[float], value: float) -> list[Tube]:
    """Connect points by tubes, with a radius at each point."""
    pairs = zip(points, points[1:], radii, radii[1:], strict=False)
    return [Tube(start, end, (r0, r1), value) for start, end, r0, r1 in pairs]


def _mirrored(point: Vector, side: float, middle: float) -> Vector:
    """Return a point given for the left (side 1), or its mirror image (side -1)."""
    return middle + side * point[0], point[1], point[2]


def _directions(long_axis: Vector) -> tuple[Vector, Vector, Vector]:
    """Return three orthonormal directions, the first along `long_axis`."""
    basis, _ = np.linalg.qr(np.column_stack([long_axis, (0.0, 1.0, 0.3), (0.0, 0.2, 1.0)]))
    first, second, third = (vector(column) for column in basis.T)
    return first, second, third


def _heart(chest: Chest, rng: np.random.Generator, blood: float) -> list[Ellipsoid]:
    """Draw fat, ventricles, right and left atrium; the apex points to the left, to the front and down."""
    size = chest.scale * rng.normal(1.0, 0.09)
    x = chest.lean + rng.uniform(20, 38)
    level = Column.level(chest.z(0.4))
    y = float(chest.cage.front[level]) + 54 * size + rng.uniform(-2, 8)
    z = chest.z(0) + 0.42 * (chest.dome_right + chest.dome_left) + 28 * size
    axes = _directions((rng.uniform(0.75, 0.9), -0.35, -rng.uniform(0.3, 0.65)))
    ventricles = Ellipsoid((x, y, z), (65 * size, 44 * size, 48 * size), blood + 3, axes)
    pericardium = Ellipsoid((x, y, z), (69 * size, 49 * size, 52 * size), -40.0, axes)
    right = Ellipsoid((x - 42 * size, y + 10, z + 10), (29 * size, 34 * size, 48 * size), blood)
    left = Ellipsoid((x - 14, y + 32 * size, z + 24 * size), (42 * size, 26 * size, 30 * size), blood)
    return [pericardium, ventricles, right, left]


def _great_vessels(chest: Chest, heart: Ellipsoid, rng: np.random.Generator, blood: float) -> list[Tube]:
    """Draw aorta, pulmonary trunk and arteries, superior and inferior vena cava, vessels of the neck."""
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


def _hilum(chest: Chest, side: float) -> Vector:
    """Return the point where vessels and bronchi enter a lung: side -1 right, 1 left."""
    z = chest.z(0.56) + 6 * side
    return chest.lean + side * (chest.mediastinum + 12), float(chest.spine_y(z)) - 34, z


def _airways(chest: Chest, rng: np.random.Generator) -> list[Tube]:
    """Draw trachea, main and lobar bronchi: first their walls, then their air."""
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


def _lung_vessels(chest: Chest, rng: np.random.Generator, blood: float) -> list[Tube]:
    """Grow a tree of vessels in each lung, from the hilum until it would leave the lung."""
    tubes: list[Tube] = []

    def grow(start: Vector, direction: np.ndarray, length: float, radius: float, generation: int) -> None:
        for _ in range(3):
            end = vector(start + direction * length)
            if chest.in_lung(end):
                break
            length *= 0.55
        else:
            return
        tubes.append(Tube(start, end, (radius, 0.8 * radius), blood))
        if generation < 6:
            for _ in range(2):
                turned = direction + rng.normal(0, 0.45, 3)
                turned /= np.linalg.norm(turned)
                grow(end, turned, length * rng.uniform(0.7, 1.0), 0.76 * radius, generation + 1)

    for side in (-1.0, 1.0):
        hilum = _hilum(chest, side)
        for out, forward, up in ((0.6, -0.4, 0.9), (0.7, 0.4, 0.8), (0.9, -0.7, 0.1), (0.9, 0.5, 0.0),
                                 (0.5, -0.5, -0.8), (0.7, 0.1, -0.9), (0.4, 0.5, -0.9)):  # fmt: skip
            direction = np.array([side * out, forward, up]) + rng.normal(0, 0.15, 3)
            grow(hilum, direction / np.linalg.norm(direction), 28 * chest.scale, 4.0 * chest.scale, 0)
    return tubes


def _nodules(chest: Chest, rng: np.random.Generator) -> list[Ellipsoid]:
    """Draw one nodule in two of five cases."""
    wanted = rng.random() < 0.4
    for _ in range(40):
        side = rng.choice((-1.0, 1.0))
        u, out, forward = rng.uniform(0.3, 0.9), rng.uniform(0.35, 0.85), rng.uniform(-0.6, 0.6)
        centre = (side * out * chest.half_width, forward * chest.depth / 2, chest.z(u))
        radii = rng.uniform(4, 14) * rng.uniform(0.8, 1.2, 3)
        if wanted and chest.in_lung(centre):
            return [Ellipsoid(centre, (float(radii[0]), float(radii[1]), float(radii[2])), HU_SOFT)]
    return []


def _belly(chest: Chest, rng: np.random.Generator) -> list[Ellipsoid]:
    """Draw bowel and kidneys, liver, spleen, stomach with its gas bubble, and bowel gas, all below the diaphragm."""
    w, d = chest.half_width, chest.depth
    right, left = chest.z(0) + chest.dome_right, chest.z(0) + chest.dome_left
    bubble = (chest.lean + 0.42 * w + rng.uniform(-10, 10), -0.12 * d + rng.uniform(-8, 8))
    thickness = rng.uniform(3, 17)
    organs = [
        Ellipsoid((0.0, -0.1 * d, chest.z(-0.4)), (0.8 * w, 0.36 * d, 75.0), HU_SOFT - 15),
        Ellipsoid((-0.42 * w, 0.0, right - 62), (0.66 * w, 0.56 * d, 76.0), HU_LIVER + rng.normal(0, 8)),
        Ellipsoid((0.02 * w, -0.22 * d, min(right, left) - 34), (0.45 * w, 0.3 * d, 34.0), HU_LIVER),
        Ellipsoid((0.66 * w, 0.2 * d, left - 52), (26.0, 42.0, rng.uniform(40, 58)), HU_SOFT + 12),
        Ellipsoid((bubble[0], bubble[1], left - 44), (48.0, 46.0, 42.0), HU_SOFT - 10),
        Ellipsoid((bubble[0], bubble[1], left - 13 - thickness), (rng.uniform(18, 34), 26.0, thickness), HU_GAS),
    ]
    for _ in range(rng.integers(0, 4)):
        at = (rng.uniform(0.0, 0.75) * w, rng.uniform(-0.45, -0.1) * d, left - rng.uniform(70, 130))
        organs.append(Ellipsoid(at, (rng.uniform(10, 26), rng.uniform(8, 18), rng.uniform(8, 16)), HU_GAS + 100))
    return organs


def _breasts(chest: Chest, rng: np.random.Generator) -> list[Ellipsoid]:
    """Draw, in half of the cases, fat with a gland in it on each side."""
    wanted, size = rng.random() < 0.5, rng.uniform(0.55, 0.9) + 0.012 * chest.fat
    gland, z = rng.uniform(0.35, 0.7), chest.z(rng.uniform(0.28, 0.42))
    front = float(chest.body.front[Column.level(z)])
    parts = []
    for side in (-1.0, 1.0):
        at = _mirrored((0.56 * chest.half_width, front + 16, z), side, chest.lean)
        semi_axes = (72 * size, 14 + 20 * size, 62 * size)
        inner = (gland * semi_axes[0], gland * semi_axes[1], gland * semi_axes[2])
        parts += [Ellipsoid(at, semi_axes, HU_FAT, _HANGING), Ellipsoid(at, inner, HU_GLAND, _HANGING)]
    return parts if wanted else []


def _vertebral_processes(chest: Chest) -> list[Tube]:
    """Draw the arches, transverse and spinous processes of the vertebrae."""
    tubes = []
    value, s = 300 * chest.bone, chest.scale
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
            tubes += _path([joint, tip], [3.5 * s, 3.0 * s], value)
    return tubes


def _shoulder_girdle(chest: Chest, rng: np.random.Generator) -> list[Part]:
    """Draw the clavicles, the spines and heads of the scapulae, and the humeral heads."""
    parts: list[Part] = []
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


@dataclass(frozen=True)
class Anatomy:
    """Everything random about a phantom except the noise. Shapes are in the frame of the body."""

    chest: Chest
    pose: Pose
    """Where the body lies in the grid."""
    lung_hu: float
    """Mean HU of the lungs in the middle of the chest, without vessels."""
    lung_hu_per_mm: float
    """Increase of the lungs' HU towards the back, on which the patient lies."""
    muscle_hu: float
    rib_half_height: float
    """Half the height of a rib in mm, along the body."""
    rib_drop: float
    """Factor on how steeply the ribs run down to the front."""
    disc_share: float
    """Height of a disc as a share of its level of the spine."""
    scapula_tip: float
    """Angle round the chest, in rad from the spine, of the lower tips of the scapulae."""
    breasts: list[Part]
    belly: list[Part]
    in_lungs: list[Part]
    """Vessels and nodule."""
    heart: list[Part]
    mediastinum: list[Part]
    """Great vessels and airways."""
    vertebral_processes: list[Part]
    shoulders: list[Part]


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw the anatomy of one patient."""
    chest = draw_chest(rng)
    contrast = rng.uniform(40, 180) if rng.random() < 0.25 else 0.0
    blood = HU_BLOOD + rng.normal(0, 5) + contrast
    heart = _heart(chest, rng, blood)
    return Anatomy(
        chest=chest,
        pose=Pose(
            angles_deg=vector(rng.normal(0, (2.0, 1.2, 2.0)).clip(-5, 5)),
            shift=vector(rng.normal(0, (7.0, 10.0, 5.0)).clip(-20, 20)),
        ),
        lung_hu=HU_LUNG + rng.uniform(-20, 90),
        lung_hu_per_mm=rng.uniform(0.1, 0.5),
        muscle_hu=HU_MUSCLE + rng.normal(0, 6),
        rib_half_height=rng.uniform(5.4, 7.2),
        rib_drop=rng.uniform(0.8, 1.2),
        disc_share=rng.uniform(0.16, 0.26),
        scapula_tip=rng.uniform(0.95, 1.25),
        breasts=[*_breasts(chest, rng)],
        belly=[*_belly(chest, rng)],
        in_lungs=[*_lung_vessels(chest, rng, blood), *_nodules(chest, rng)],
        heart=[*heart],
        mediastinum=[*_great_vessels(chest, heart[1], rng, blood), *_airways(chest, rng)],
        vertebral_processes=[*_vertebral_processes(chest)],
        shoulders=_shoulder_girdle(chest, rng),
    )
