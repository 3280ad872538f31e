"""Geometries by name: numbers, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from conventions import InputError, View

from .geometry import ConeBeam, Vector

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
"""Numbers of the named geometries in mm: `x2ct` is the authors' (source of the lateral at the patient's left), `chest`
a real chest film (180 cm, the patient against the detector, left lateral)."""

X2CT_ISOCENTRE_SLIP: Vector = (0.0, 0.0, -0.5)
"""Where the authors' isocentre lay from the volume's centre, in mm, LPS: their command cut the last digit of z (159.
for 159.5 mm). `view.moved(X2CT_ISOCENTRE_SLIP)` reproduces it; the preset is exact."""

X2CT_MIRRORED = {"pa": True, "lateral": False}
"""Which of plastimatch's images the authors flipped left to right; it draws every image as seen from the source.
`view.mirrored()` of these gives the raw images of the program, the preset gives the authors' flipped ones."""


_MADE_BY: dict[str, Callable[..., ConeBeam]] = {View.PA: ConeBeam.pa, View.LATERAL: ConeBeam.lateral}


def preset(
    name: str, detector_shape: Sequence[int] = (128, 128), views: Sequence[str] = tuple(View)
) -> tuple[ConeBeam, ...]:
    """The views of a named geometry.

    Args:
        name: a key of `PRESETS`.
        detector_shape: (rows, columns); the detector keeps its size in mm.
        views: which of them, "pa" or "lateral", in order.

    Returns:
        (PA, lateral), or those of them that are asked for.

    Raises:
        InputError: where a name is unknown.
    """
    if name not in PRESETS:
        raise InputError(f"unknown geometry {name!r}: choose one of {', '.join(PRESETS)}")
    unknown = [view for view in views if view not in _MADE_BY]
    if unknown or not views:
        raise InputError(f"unknown views {list(views)}: choose of {', '.join(_MADE_BY)}")
    numbers = PRESETS[name]
    return tuple(_MADE_BY[view](detector_shape=detector_shape, **numbers[view]) for view in views)
