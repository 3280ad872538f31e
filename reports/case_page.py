"""Show one case on a page: what was predicted, from which radiographs, by which model, and what to doubt."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conventions import HU_WINDOW, SYNTHETIC_STATEMENT, VERSION, InputError
from drr import Acquisition, edge_letters, view_title
from storage import set_aside, write_atomically
from transforms import RayCastDRR

from .figures import DIFFERENCE_HU, ERROR_HU, PLANES, colours_of_error, colours_of_support
from .page import document, doubts, model_words, notice, picture, table
from .summary import COLUMNS, ROWS
from .viewer import HU_WINDOWS, ViewerVolume, licences, viewer, window_range

HELD_OUT = "oblique_45"
"""View that a prediction is also compared in, which the network is not shown."""

FILM = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}
"""Colours of a radiograph."""

FILM_DIFFERENCE = {"cmap": "RdBu_r", "vmin": -0.3, "vmax": 0.3}
"""Colours of a difference of film values."""

HU_STEP = 4
"""Step in HU of the volumes in the viewer: a soft tissue window has 100 grey values left, pages are smaller."""

BOTH = ("prediction", "truth")
"""Volumes whose difference is the error."""

ABOUT = (
    "Everything is in this file; it fetches nothing. The patient's left is on the right of axial and coronal planes "
    "and of the PA radiograph: R and L are right and left, A and P front and back, H or S head, F or I feet. The "
    f"viewer keeps HU in steps of {HU_STEP}."
)
"""What the page says about itself."""

ERROR_WORDS = "absolute error"
EXPECTED_WORDS = "expected error"
SUPPORT_WORDS = "ray support"


@dataclass(frozen=True, eq=False, kw_only=True)
class CaseContent:
    """All that a page says about a case.

    Args:
        case: name of the case.
        prediction_hu: predicted volume (D, H, W) in HU on the grid of the acquisition.
        acquisition: how the radiographs were made, or what films were brought to.
        truth_hu: true volume (D, H, W) in HU; None where it is not known.
        error_hu: expected absolute error of each voxel (D, H, W) in HU; None where it was not estimated.
        image: radiographs shown to the network, (views, rows, columns) in [0, 1]; None where they were not kept.
        model: what made the prediction, as `networks.describe_model` returns it.
        films: view and decisions of each film, as a sidecar holds them.
        measures: name as in `cases.csv`, such as `psnr_db/prediction`, -> value of this case.

    Raises:
        InputError: where an array has another shape than the acquisition says, or values that are not finite.
    """

    case: str
    prediction_hu: np.ndarray
    acquisition: Acquisition
    truth_hu: np.ndarray | None = None
    error_hu: np.ndarray | None = None
    image: np.ndarray | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    films: Sequence[Mapping[str, Any]] = ()
    measures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        films = (len(self.acquisition.views), *self.acquisition.detector_shape)
        for name in ("prediction_hu", "truth_hu", "error_hu", "image"):
            array, shape = getattr(self, name), films if name == "image" else self.acquisition.grid.shape
            if array is None:
                continue
            if array.shape != shape:
                raise InputError(
                    f"{self.case}: {name} has the shape {array.shape}, the acquisition says {shape}; give the files of "
                    "one run"
                )
            if not np.isfinite(array).all():
                raise InputError(f"{self.case}: {name} holds values that are not finite; run the prediction again")

    @property
    def window(self) -> tuple[float, float]:
        """Range of the network's volumes in HU."""
        low, high = self.model.get("hu_window") or HU_WINDOW
        return float(low), float(high)


def write_case_page(path: str | os.PathLike[str], content: CaseContent) -> Path:
    """Write the page of a case in one file that needs no network: notice, viewer, radiographs, planes, films' reading.

    Args:
        path: HTML file to write; a file of an earlier run is renamed.
        content: what the page shows.

    Returns:
        The page, about 1.2 MB and 1 to 2 MB for each CT of 128^3 voxels.
    """
    support = ray_support(content.acquisition)
    parts = [
        _header(content),
        _measures(content),
        _viewer(content, support),
        _radiographs(content),
        _planes(content, support),
        _reading(content),
        f"<h2>About this page</h2>\n<p>{ABOUT}</p>\n{licences()}",
    ]
    text = document(f"{content.case}: synthetic CT", "".join(parts), styles=["viewer"])
    set_aside(path)
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def ray_support(acquisition: Acquisition) -> np.ndarray:
    """Count the views whose rays through a voxel reach the detector.

    Args:
        acquisition: grid and views.

    Returns:
        (D, H, W) uint8. Where it is 0, no radiograph holds anything about the voxel; where it is 1, one does, but
        not at what depth.
    """
    grid, shape = acquisition.grid, np.array(acquisition.detector_shape)
    voxels = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).reshape(-1, 3)
    seen = np.zeros(len(voxels), dtype=np.uint8)
    for beam in acquisition.views:
        places = beam.project_points(voxels, grid)
        seen += ((places >= -0.5) & (places <= shape - 0.5)).all(axis=1)
    return seen.reshape(grid.shape)


def _header(content: CaseContent) -> str:
    acquisition = content.acquisition
    grid = acquisition.grid
    details = [
        *model_words(content.model),
        f"x2ct-bundle {VERSION}",
        f"{' x '.join(map(str, grid.shape))} voxels of {' x '.join(f'{step:g}' for step in grid.spacing)} mm",
        "from " + ", ".join(view_title(beam) for beam in acquisition.views),
        *([f"geometry {acquisition.geometry}"] if isinstance(acquisition.geometry, str) else []),
    ]
    return (
        f"<header>\n{notice(SYNTHETIC_STATEMENT)}\n<h1>{html.escape(content.case)}</h1>\n"
        f'<p class="quiet">{html.escape("; ".join(details))}</p>\n</header>\n'
    )


def _measures(content: CaseContent) -> str:
    """Return the figures of the case: a row for each prediction, a column for each measure that was taken."""
    columns = [name for name in COLUMNS if f"{name}/prediction" in content.measures]
    if not columns:
        return ""
    rows = [
        [title, *(f"{content.measures[f'{name}/{key}']:.{COLUMNS[name][1]}f}" for name in columns)]
        for key, title in ROWS.items()
        if all(f"{name}/{key}" in content.measures for name in columns)
    ]
    words = "The peak of PSNR is the width of the HU window, SSIM is 3-D, MAE is over all voxels."
    made = table(["prediction", *(COLUMNS[name][0] for name in columns)], rows, numbers=True)
    return f'<h2>Measures of this case</h2>\n{made}<p class="quiet">{words}</p>\n'


def _viewer(content: CaseContent, support: np.ndarray) -> str:
    prediction = ViewerVolume("prediction", "synthetic CT", content.prediction_hu, HU_STEP)
    views = len(content.acquisition.views)
    volumes = [prediction, ViewerVolume("support", SUPPORT_WORDS, support, 1, "views", "viridis", (0, views))]
    second = "support"
    if content.error_hu is not None:
        second = "expected"
        error = content.error_hu.clip(0, 255 * HU_STEP)  # as many as fit into 8 bits
        volumes.insert(1, ViewerVolume(second, EXPECTED_WORDS, error, HU_STEP, "HU", "magma", (0, ERROR_HU)))
    if content.truth_hu is not None:
        truth = ViewerVolume("truth", "true CT", content.truth_hu, HU_STEP)
        off = ViewerVolume("error", ERROR_WORDS, None, HU_STEP, "HU", "magma", (0, ERROR_HU), BOTH)
        volumes = [truth, prediction, off, *volumes[1:]]
    panes = ("prediction", second) if content.truth_hu is None else ("truth", "prediction")
    beside = "" if content.image is None else _shown_to_the_network(content, content.image)
    acquisition = content.acquisition
    return viewer(volumes, panes, acquisition.grid, acquisition.views, beside, content.window)


def _shown_to_the_network(content: CaseContent, image: np.ndarray) -> str:
    return "".join(
        picture(pixels, f"radiograph, {view_title(beam)}", edge_letters(beam), FILM, view=number)
        for number, (pixels, beam) in enumerate(zip(image, content.acquisition.views, strict=True))
    )


def _radiographs(content: CaseContent) -> str:
    """Return each radiograph next to the DRR of the prediction, then both CTs in a view that the network never had."""
    acquisition = content.acquisition
    rows = [(beam, pixels, "radiograph shown to the network") for beam, pixels in _given(content)]
    drawn = [*_render(content.prediction_hu, acquisition)] if rows else []
    words = "DRRs of the synthetic CT beside what the network was shown. They can agree although the CT is wrong."
    if content.truth_hu is not None and isinstance(acquisition.geometry, str):
        oblique = acquisition.replace(view_names=(HELD_OUT,))
        rows.append((oblique.views[0], _render(content.truth_hu, oblique)[0], "DRR of the true CT, not shown to it"))
        drawn.append(_render(content.prediction_hu, oblique)[0])
        words += " The last row is a view that the network was not shown."
    if not rows:
        return ""
    pictures = ""
    for (beam, pixels, title), again in zip(rows, drawn, strict=True):
        name, letters = view_title(beam), edge_letters(beam)
        rms = float(np.sqrt(np.mean((again - pixels) ** 2)))
        pictures += (
            '<div class="pictures large">\n'
            + picture(pixels, f"{title}, {name}", letters, FILM)
            + picture(again, f"DRR of the synthetic CT, {name}", letters, FILM)
            + picture(again - pixels, f"difference (RMS {rms:.3f} of the grey range)", letters, FILM_DIFFERENCE)
            + "</div>\n"
        )
    words += " Red: the DRR is brighter; blue: darker."
    return f"<h2>Radiographs and re-projections</h2>\n<p>{words}</p>\n{pictures}"


def _given(content: CaseContent) -> list[tuple[Any, np.ndarray]]:
    return [] if content.image is None else list(zip(content.acquisition.views, content.image, strict=True))


def _render(volume_hu: np.ndarray, acquisition: Acquisition) -> np.ndarray:
    volume = torch.from_numpy(np.ascontiguousarray(volume_hu, dtype=np.float32))[None]
    drawn: np.ndarray = RayCastDRR(acquisition)(volume).numpy()
    return drawn


def _planes(content: CaseContent, support: np.ndarray) -> str:
    """Return pictures of the planes through the centre, in each window, of all volumes."""
    made = ""
    for title, rows in groupby(_rows_of_planes(content, support), key=itemgetter(0)):
        pictures = "".join(
            picture(volume.take(volume.shape[axis] // 2, axis), f"{name}, {plane}", letters, colours)
            for _, name, volume, colours in rows
            for plane, (axis, letters) in PLANES.items()
        )
        made += f'<section><h3>{html.escape(title)}</h3>\n<div class="pictures">\n{pictures}</div></section>\n'
    unseen, all_see = (100 * float((support == views).mean()) for views in (0, len(content.acquisition.views)))
    said = f"{unseen:.1f} % of the voxels are seen in no view, {all_see:.1f} % in all."
    return f'<h2>Planes through the centre</h2>\n{made}<p class="quiet">{said}</p>\n'


def _rows_of_planes(content: CaseContent, support: np.ndarray) -> Iterator[tuple[str, str, np.ndarray, dict[str, Any]]]:
    """Yield what is shown in planes: heading, caption, volume and colours."""
    for window in HU_WINDOWS:
        low, high = window_range(window)
        for words, volume in (("true CT", content.truth_hu), ("synthetic CT", content.prediction_hu)):
            if volume is not None:
                heading = f"{window} window ({low:g} to {high:g} HU)"
                yield heading, words, volume, {"cmap": "gray", "vmin": low, "vmax": high}
    if content.truth_hu is not None:
        off = content.prediction_hu - content.truth_hu
        signed = {"cmap": "RdBu_r", "vmin": -DIFFERENCE_HU, "vmax": DIFFERENCE_HU}
        yield "Errors", f"{ERROR_WORDS}, 0 to {ERROR_HU:g} HU", np.abs(off), colours_of_error()
        yield "Errors", f"synthetic - true CT, ±{DIFFERENCE_HU:g} HU", off, signed
    if content.error_hu is not None:
        yield "Expected error", f"{EXPECTED_WORDS}, 0 to {ERROR_HU:g} HU", content.error_hu, colours_of_error()
    views = len(content.acquisition.views)
    yield "Ray support", f"{SUPPORT_WORDS}, 0 to {views} views", support, colours_of_support(views)


def _reading(content: CaseContent) -> str:
    """Return how each film was read, its doubts first."""
    made = ""
    for film in content.films:
        decisions = film.get("decisions", [])
        rows = [[one["kind"], one["subject"], one["text"]] for one in decisions]
        made += f"<h3>{html.escape(str(film.get('view', 'film')))}</h3>\n{doubts(decisions)}"
        made += table(["kind", "about", "decision"], rows)
    return f"<h2>How the films were read</h2>\n{made}" if made else ""
