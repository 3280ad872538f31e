"""One object for everything that turns a CT volume into a set of radiographs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from conventions import MAX_VIEWS, InputError, View

from .attenuation import CURVES
from .film_styles import FILM_STYLES
from .geometry import Beam, ConeBeam, ParallelBeam, detector_shape_of
from .grid import VolumeGrid
from .presets import preset
from .tensor import geometry_tensor
from .view_labels import view_word

ANCHORS = ("centre", "head", "lungs")
"""Ways to lay a scan on the grid. "centre": the grid's centre on the scan's. "head": the top of the grid on the top of
a scan that is taller, as the authors did (they keep the 320 mm towards the head). "lungs": the grid's centre on that of
the box around both lungs, as films are laid by their lungs; a CT without lungs is refused."""

PAPER_GRID = VolumeGrid(128, 2.5)
"""Grid of the paper: 128^3 voxels of 2.5 mm, a cube of 320 mm."""

PIXELS = (128, 128)
"""Default shape of a preset's detector, (rows, columns)."""

_BEAMS: dict[str, type[ConeBeam] | type[ParallelBeam]] = {"ConeBeam": ConeBeam, "ParallelBeam": ParallelBeam}
_ENTRIES = {"geometry", "views", "curve", "film_style", "detector_shape", "grid", "anchor"}


@dataclass(frozen=True)
class Acquisition:
    """How a CT volume becomes radiographs: grid, views, attenuation, look of the film, detector.

    The defaults are the paper's. A model is trained for one acquisition and is right only for radiographs of the same.

    Args:
        grid: voxel grid of the volume; its centre is the isocentre.
        geometry: name of a preset (a key of `PRESETS`), or one to eight view objects with one detector shape.
        view_names: names of the views, in the order in which radiographs are stacked. With a preset they choose the
            views, as in `preset`; PA and lateral by default. View objects are named after their pose by default, as
            `pa`, `left_lateral` or `parallel_ap`, and `view_3` where they have none.
        curve: HU -> mu curve, a key of `CURVES`.
        film_style: line integral -> film value, a key of `FILM_STYLES`.
        detector_shape: (rows, columns), or one number for both; `PIXELS` by default. View objects bring their own.
        anchor: how a scan is laid on the grid, one of `ANCHORS`.

    Raises:
        InputError: where a name is unknown or used twice, the number of views is not one to eight, or view objects
            differ in their detector's shape.
    """

    grid: VolumeGrid
    geometry: str | tuple[Beam, ...]
    view_names: tuple[str, ...]
    curve: str
    film_style: str
    detector_shape: tuple[int, int]
    anchor: str
    views: tuple[Beam, ...] = field(init=False, repr=False, compare=False)
    """The view objects, in the order in which radiographs are stacked."""

    def __init__(
        self,
        *,
        grid: VolumeGrid = PAPER_GRID,
        geometry: str | Sequence[Beam] = "x2ct",
        view_names: Sequence[str] | None = None,
        curve: str = "plastimatch",
        film_style: str = "x2ct",
        detector_shape: int | Sequence[int] | None = None,
        anchor: str = "head",
    ) -> None:
        if not isinstance(grid, VolumeGrid):
            raise InputError(f"grid must be a VolumeGrid, got {grid!r}")
        _choose("attenuation curve", curve, CURVES)
        _choose("film style", film_style, FILM_STYLES)
        _choose("anchor", anchor, ANCHORS)
        if isinstance(geometry, str):
            names = _names(tuple(View) if view_names is None else view_names)
            shape = detector_shape_of(PIXELS if detector_shape is None else detector_shape)
            views = preset(geometry, shape, names)
        else:
            geometry = views = _checked_views(geometry)
            names = _names(_words(views) if view_names is None else view_names)
            shape = views[0].detector_shape
            if len(names) != len(views):
                raise InputError(
                    f"view_names has {len(names)} names for {len(views)} view objects: give one name each, or none"
                )
            if detector_shape is not None and detector_shape_of(detector_shape) != shape:
                raise InputError(
                    f"the view objects have detectors of {shape} pixels, not of {detector_shape}: leave out "
                    "detector_shape, or make other view objects"
                )
        values = (grid, geometry, names, curve, film_style, shape, anchor, views)
        for entry, value in zip(dataclasses.fields(self), values, strict=True):
            object.__setattr__(self, entry.name, value)

    def geometry_tensor(
        self, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
    ) -> torch.Tensor:
        """Return the views as numbers.

        Args:
            dtype: dtype of the result.
            device: device of the result.

        Returns:
            (views, 4, 3) in mm, LPS: one case of `drr.geometry_tensor`.
        """
        return geometry_tensor(self.views, dtype, device)[0]

    def replace(self, **changes: Any) -> Acquisition:
        """Change some arguments.

        Args:
            **changes: arguments as in the constructor. New view objects bring their own names and detector.

        Returns:
            A new acquisition.
        """
        if not isinstance(changes.get("geometry", ""), str):
            changes = {"view_names": None, "detector_shape": None, **changes}
        return dataclasses.replace(self, **changes)

    def record(self) -> dict[str, Any]:
        """Return the acquisition as plain data for JSON, which `from_record` turns back."""
        geometry: Any = self.geometry
        if not isinstance(geometry, str):
            geometry = [_beam_record(beam) for beam in geometry]
        return {
            "geometry": geometry,
            "views": list(self.view_names),
            "curve": self.curve,
            "film_style": self.film_style,
            "detector_shape": list(self.detector_shape),
            "grid": {"shape": list(self.grid.shape), "spacing": list(self.grid.spacing)},
            "anchor": self.anchor,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Acquisition:
        """Rebuild an acquisition from what `record` returned.

        Args:
            record: record of an acquisition, as read from JSON.

        Raises:
            InputError: where an entry is missing, unknown or cannot be used.
        """
        if not isinstance(record, Mapping) or set(record) != _ENTRIES:
            met = ", ".join(sorted(map(str, record))) if isinstance(record, Mapping) else repr(record)
            raise InputError(
                f"the record of an acquisition has the entries {', '.join(sorted(_ENTRIES))}, got {met}: restore it, "
                "or use the version that wrote it"
            )
        try:
            geometry = record["geometry"]
            return cls(
                grid=VolumeGrid(record["grid"]["shape"], record["grid"]["spacing"]),
                geometry=geometry if isinstance(geometry, str) else [_beam(entry) for entry in geometry],
                view_names=[*record["views"]],
                curve=record["curve"],
                film_style=record["film_style"],
                detector_shape=[*record["detector_shape"]],
                anchor=record["anchor"],
            )
        except InputError as error:
            raise InputError(f"the record of the acquisition cannot be used: {error}") from error
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(f"the record of the acquisition is damaged ({error!r}): restore it") from error

    def difference(self, other: Acquisition, *, without: Sequence[str] = ()) -> str:
        """Say in a few words where this acquisition first differs from another one.

        Args:
            other: acquisition to compare with.
            without: entries of `record` that need not agree.

        Returns:
            For example "geometry 'x2ct' instead of 'chest'"; empty where the two agree.
        """
        mine, theirs = self.record(), other.record()
        for entry in mine:
            if entry not in without and mine[entry] != theirs[entry]:
                return _first_difference(entry.replace("_", " "), mine[entry], theirs[entry])
        return ""


def _choose(what: str, name: str, known: Sequence[str] | Mapping[str, Any]) -> None:
    if name not in tuple(known):
        raise InputError(f"unknown {what} {name!r}: choose one of {', '.join(known)}")


def _names(names: Sequence[str]) -> tuple[str, ...]:
    words = isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(name, str) for name in names)
    if not words:
        raise InputError(f"view_names must be a list of names, got {names!r}")
    if not 1 <= len(names) <= MAX_VIEWS:
        raise InputError(f"{len(names)} views are asked for: give one to {MAX_VIEWS}")
    twice = sorted({str(name) for name in names if list(names).count(name) > 1})
    if twice:
        raise InputError(f"each view is named once, got {', '.join(twice)} several times")
    return tuple(map(str, names))


def _checked_views(views: Sequence[Beam]) -> tuple[Beam, ...]:
    if not isinstance(views, (list, tuple)) or not all(isinstance(view, Beam) for view in views):
        raise InputError(f"geometry must be the name of a preset or a list of view objects, got {views!r}")
    shapes = sorted({view.detector_shape for view in views})
    if len(shapes) > 1:
        raise InputError(f"the views of one acquisition need one detector shape, got {shapes}")
    if not 1 <= len(views) <= MAX_VIEWS:
        raise InputError(f"{len(views)} views are asked for: give one to {MAX_VIEWS}")
    return tuple(views)


def _words(views: Sequence[Beam]) -> list[str]:
    """Name views after their poses, and by their number where they have none or another has it."""
    names: list[str] = []
    for number, view in enumerate(views, start=1):
        word = view_word(view)
        names.append(word if word is not None and word not in names else f"view_{number}")
    return names


def _beam_record(view: Beam) -> dict[str, Any]:
    return {"beam": type(view).__name__, **{name: list(value) for name, value in dataclasses.asdict(view).items()}}


def _beam(entry: Mapping[str, Any]) -> Beam:
    return _BEAMS[entry["beam"]](**{name: tuple(value) for name, value in entry.items() if name != "beam"})


def _first_difference(name: str, mine: Any, theirs: Any) -> str:
    """Descend to the first entry that differs, so that the message names it."""
    if isinstance(mine, dict):
        key = next(key for key in mine if mine[key] != theirs.get(key))
        return _first_difference(f"{name} {key.replace('_', ' ')}", mine[key], theirs.get(key))
    if name == "geometry":
        if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
            number = next(i for i, view in enumerate(mine) if view != theirs[i])
            return _first_difference(f"view {number + 1}", mine[number], theirs[number])
        return f"{name} {_geometry_in_words(mine)} instead of {_geometry_in_words(theirs)}"
    return f"{name} {mine!r} instead of {theirs!r}"


def _geometry_in_words(geometry: str | list[Any]) -> str:
    return repr(geometry) if isinstance(geometry, str) else f"view objects ({len(geometry)})"
