"""Views by the names that people use, with the numbers of a preset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conventions import InputError

from .geometry import Beam, ConeBeam, ParallelBeam, Vector
from .presets import PRESETS
from .view_labels import beam_direction

VIEW_NAMES = ("pa", "ap", "lateral", "left_lateral", "right_lateral")
"""`lateral` is the preset's own; the other two name the side at the detector. With `parallel_` before it, any of them
is a view by parallel rays of the field that the cone beam sees at the isocentre."""


def named_view(name: str, geometry: str = "chest", detector_shape: Sequence[int] = (128, 128)) -> Beam:
    """A view by its name, with the distances and the detector of a preset.

    Args:
        name: one of `VIEW_NAMES`, `parallel_` before it for parallel rays.
        geometry: a key of `PRESETS`.
        detector_shape: (rows, columns).

    Raises:
        InputError: where a name is unknown.
    """
    direction = name.removeprefix("parallel_")
    if direction not in VIEW_NAMES:
        raise InputError(f"unknown view {name!r}: choose of {', '.join(VIEW_NAMES)}, or one of them after parallel_")
    pose = direction.removesuffix("_lateral")
    numbers = _numbers(geometry, "pa" if pose in ("pa", "ap") else "lateral", detector_shape)
    if pose == "pa":
        view = ConeBeam.pa(**numbers)
    elif pose == "ap":
        view = ConeBeam.ap(**numbers)
    else:
        view = ConeBeam.lateral(**numbers if pose == "lateral" else {**numbers, "detector_side": pose})
    return view if direction == name else parallel(view)


def oblique_view(angle: float, geometry: str = "chest", detector_shape: Sequence[int] = (128, 128)) -> ConeBeam:
    """PA of a preset turned about the patient.

    Args:
        angle: degrees, see `ConeBeam.oblique`: 45 is left anterior oblique.
        geometry: a key of `PRESETS`.
        detector_shape: (rows, columns).
    """
    return ConeBeam.oblique(angle=angle, **_numbers(geometry, "pa", detector_shape))


def parallel(view: ConeBeam) -> ParallelBeam:
    """Parallel rays along the axis of a cone beam, over the field that it sees at the isocentre."""

    def at_isocentre(step: Vector) -> Vector:
        x, y, z = (v / view.magnification() for v in step)
        return x, y, z

    return ParallelBeam(
        direction=beam_direction(view),
        detector_centre=(0.0, 0.0, 0.0),
        column_step=at_isocentre(view.column_step),
        row_step=at_isocentre(view.row_step),
        detector_shape=view.detector_shape,
    )


def _numbers(geometry: str, view: str, detector_shape: Sequence[int]) -> dict[str, Any]:
    if geometry not in PRESETS:
        raise InputError(f"unknown geometry {geometry!r}: choose one of {', '.join(PRESETS)}")
    numbers: dict[str, Any] = dict(PRESETS[geometry][view])
    return {**numbers, "detector_shape": detector_shape}
