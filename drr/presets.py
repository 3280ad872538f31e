"""Named geometries and the views of each, by the words that people use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from conventions import InputError, View

from .geometry import Beam, ConeBeam, ParallelBeam, Vector

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "x2ct": {
        "pa": {"sdd": 949.0, "sod": 541.0, "detector_size": 500.0},
        "lateral": {"detector_side": "right", "sdd": 949.0, "sod": 541.0, "detector_size": 500.0},
    },
    "chest": {
        "pa": {"sdd": 1800.0, "sod": 1650.0, "detector_size": 430.0},
        "lateral": {"detector_side": "left", "sdd": 1800.0, "sod": 1600.0, "detector_size": 430.0},
    },
}
"""Numbers of the named geometries, in mm: `x2ct` is the authors' (source of the lateral at the patient's left), `chest`
a real chest film (180 cm, the patient against the detector, left lateral)."""

X2CT_ISOCENTRE_SLIP: Vector = (0.0, 0.0, -0.5)
"""Offset of the authors' isocentre from the volume's centre in mm, LPS: their command cut the last digit of z (159 for
159.5 mm). `view.moved(X2CT_ISOCENTRE_SLIP)` reproduces it; the preset is exact."""

X2CT_MIRRORED = {"pa": True, "lateral": False}
"""Whether the authors flipped plastimatch's image of a view left to right; the program draws every image as seen from
the source. `view.mirrored()` gives the program's raw image of such a view, the preset the authors' flipped one."""

VIEW_NAMES = ("pa", "ap", "lateral", "left_lateral", "right_lateral")
"""Names of the views of a preset. `lateral` is the preset's own; the other two name the side at the detector.
`oblique_45` is the PA turned about the patient by 45 degrees (left anterior oblique). After `parallel_`, each of these
names means parallel rays over the field that the cone beam sees at the isocentre."""

_OBLIQUE, _PARALLEL = "oblique_", "parallel_"


def preset(
    name: str, detector_shape: Sequence[int] = (128, 128), views: Sequence[str] = tuple(View)
) -> tuple[Any, ...]:
    """Return the views of a named geometry.

    Args:
        name: a key of `PRESETS`.
        detector_shape: (rows, columns); the detector keeps its size in mm.
        views: names of the views, in the order of the result: one of `VIEW_NAMES`, or `oblique_` and an angle in
            degrees (as in `ConeBeam.oblique`), each optionally after `parallel_`.

    Returns:
        One `ConeBeam` or `ParallelBeam` for each name.

    Raises:
        InputError: where a name is unknown, or no view is named.
    """
    if name not in PRESETS:
        raise InputError(f"unknown geometry {name!r}: choose one of {', '.join(PRESETS)}")
    if not views:
        raise InputError(f"no views are named: choose from {', '.join(VIEW_NAMES)}")
    return tuple(_view(str(view), PRESETS[name], detector_shape) for view in views)


def _view(name: str, numbers: dict[str, dict[str, Any]], detector_shape: Sequence[int]) -> Beam:
    pose = name.removeprefix(_PARALLEL)
    of_pa: dict[str, Any] = {**numbers["pa"], "detector_shape": detector_shape}
    of_lateral: dict[str, Any] = {**numbers["lateral"], "detector_shape": detector_shape}
    if pose == "pa":
        view = ConeBeam.pa(**of_pa)
    elif pose == "ap":
        view = ConeBeam.ap(**of_pa)
    elif pose == "lateral":
        view = ConeBeam.lateral(**of_lateral)
    elif pose in ("left_lateral", "right_lateral"):
        view = ConeBeam.lateral(**{**of_lateral, "detector_side": pose.removesuffix("_lateral")})
    elif (angle := _angle(pose)) is not None:
        view = ConeBeam.oblique(angle=angle, **of_pa)
    else:
        raise InputError(
            f"unknown view {name!r}: choose from {', '.join(VIEW_NAMES)}, {_OBLIQUE}45, "
            f"or one of them after {_PARALLEL}"
        )
    return view if pose == name else parallel(view)


def _angle(pose: str) -> float | None:
    """Return the angle of `oblique_45` in degrees, or None for any other word."""
    if not pose.startswith(_OBLIQUE):
        return None
    try:
        angle = float(pose.removeprefix(_OBLIQUE))
    except ValueError:
        return None
    return angle if math.isfinite(angle) else None


def parallel(view: ConeBeam) -> ParallelBeam:
    """Return parallel rays along the axis of a cone beam, over the field that it sees at the isocentre."""

    def at_isocentre(step: Vector) -> Vector:
        x, y, z = (v / view.magnification() for v in step)
        return x, y, z

    return ParallelBeam(
        direction=view.direction,
        detector_centre=(0.0, 0.0, 0.0),
        column_step=at_isocentre(view.column_step),
        row_step=at_isocentre(view.row_step),
        detector_shape=view.detector_shape,
    )
