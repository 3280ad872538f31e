"""Show a prepared cohort on one page: a row for each CT, with its DRRs, planes and films, and what was noticed."""

from __future__ import annotations

import html
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from conventions import InputError, View
from drr import Acquisition, VolumeGrid
from readers import ReadOptions, read_films
from storage import key_of, write_atomically
from transforms import RayCastDRR, ReadVolume, ResampleToGrid, shrink

from .figures import PLANES, describe_views, draw_picture, grey_of_hu, save_figure
from .page import data_uri, document, doubts, table

SHOWN = Acquisition(
    geometry="chest", curve="water", film_style="linear", anchor="centre", grid=VolumeGrid(80, 5.0), detector_shape=128
)
"""How a CT is shown: in a cube of 400 mm around the centre of the scan."""

MOST_FILMS = 5
"""Number of films of a CT that are shown."""

THUMBNAILS = "thumbnails"
"""Folder of the pictures in a cohort."""


def write_cohort_page(
    manifest: str | os.PathLike[str], refused: Sequence[tuple[str, str]] = (), name: str = "report.html"
) -> Path:
    """Write the page of a prepared cohort next to its manifest, in one file that needs no network.

    Pictures are kept in `thumbnails`, so that a page of a cohort that grew draws the new cases only.

    Args:
        manifest: manifest that `cohort prepare` wrote.
        refused: (file or folder, sentence) of what was refused; the page shows the last part of the path alone.
        name: name of the page.

    Returns:
        The page.

    Raises:
        InputError: where the manifest is not one of a prepared cohort.
    """
    path = Path(manifest)
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
        rows = [_row(path.parent, case) for case in cases]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not the manifest of a prepared cohort ({error!r}); run cohort prepare") from error
    folds = Counter(case["fold"] for case in cases)
    patients = len({case["patient"] for case in cases})
    summary = f"{len(cases)} CTs of {patients} patients: " + ", ".join(f"{n} {fold}" for fold, n in folds.items())
    lost = [(Path(file).name, reason.replace(file, Path(file).name)) for file, reason in refused]
    body = (
        f"<h1>Cohort</h1>\n<p>{html.escape(summary)}; {len(refused)} refused.</p>\n"
        + (f"<h2>Refused</h2>\n{table(['file', 'reason'], lost)}" if lost else "")
        + f'<h2>CTs</h2>\n<table class="wide">\n{"".join(rows)}</table>'
    )
    page = document("Cohort", body)
    return write_atomically(path.parent / name, lambda part: part.write_text(page, encoding="utf-8"))


def _row(folder: Path, case: Mapping[str, Any]) -> str:
    films = case.get("films", [])
    pictures = [(_thumbnail(folder, case), "PA and lateral DRR, axial, coronal and sagittal plane")]
    if films:
        pictures.append((_film_thumbnail(folder, case["case"], films[:MOST_FILMS]), "films of the same patient"))
    flags = [f"{part} cut" for part in case["cut"]] + ["phantom"] * bool(case["phantom"])
    said = doubts(case["decisions"])
    said += "".join(doubts(film["decisions"], f"{film['view']} film, ") for film in films)
    source = case["source"]
    size = " x ".join(map(str, source["shape"]))
    steps = " x ".join(f"{mm:g}" for mm in source["spacing"])
    where = "beside the patient" if case["table"] == "kept" else "removed"
    facts = (
        f"{source['kind']}, {size} voxels of {steps} mm<br>lungs {case['lung_litres']:g} l, patient "
        f"{case['body_litres']:g} l, {case['removed_ml']:g} ml {where}"
    )
    name = html.escape(case["case"])
    shown = "".join(
        f'<img class="thumbnail" alt="{name}: {what}" src="{data_uri(file.read_bytes())}">' for file, what in pictures
    )
    marks = "".join(f'<span class="flag">{html.escape(flag)}</span>' for flag in flags)
    return (
        f"<tr><td><b>{name}</b><br><small>{html.escape(case['fold'])}</small><p>{marks}</p><small>{facts}</small>"
        f"{said}</td><td>{shown}</td></tr>\n"
    )


def _thumbnail(folder: Path, case: Mapping[str, Any]) -> Path:
    """Draw a CT, unless it was drawn already."""
    file = folder / THUMBNAILS / f"{case['case']}_{key_of(case['sha256'])[:8]}.png"
    if not file.is_file():
        volume_hu = ResampleToGrid(SHOWN)(shrink(ReadVolume()(folder / case["ct"]), min(SHOWN.grid.spacing)))
        save_figure(_figure(volume_hu.numpy()[0], RayCastDRR(SHOWN)(volume_hu).numpy()), file)
    return file


def _film_thumbnail(folder: Path, case: str, films: Sequence[Mapping[str, Any]]) -> Path:
    """Draw the films of a case, unless they were drawn already."""
    key = key_of("".join(f"{film['sha256']}{film['days']}" for film in films))
    file = folder / THUMBNAILS / f"{case}_films_{key[:8]}.png"
    if not file.is_file():
        figure = Figure(figsize=(10, 2.15), dpi=100, layout="constrained")
        for axes, film in zip(np.ravel(figure.subplots(1, MOST_FILMS)), [*films, *[None] * MOST_FILMS], strict=False):
            axes.set_axis_off()
            if film is not None:
                view = View(film["view"])
                pixels = read_films(folder / film["film"], [view], ReadOptions(), log=None)[0].pixels
                apart = "days unknown" if film["days"] is None else f"{film['days']:+d} days"
                title = f"{'PA' if view is View.PA else 'lateral'} film, {apart}"
                draw_picture(axes, pixels, title, ("", "", "", ""), cmap="gray", vmin=0, vmax=1)
        save_figure(figure, file)
    return file


def _figure(volume_hu: np.ndarray, radiographs: np.ndarray) -> Figure:
    figure = Figure(figsize=(10, 2.15), dpi=100, layout="constrained")
    axes = figure.subplots(1, 5)
    views = describe_views(radiographs.shape, SHOWN.geometry_tensor())
    for place, (image, (title, letters)) in enumerate(zip(radiographs, views, strict=True)):
        draw_picture(axes[place], image, f"{title} DRR", letters, cmap="gray", vmin=0, vmax=1)
    for place, (plane, (axis, letters)) in enumerate(PLANES.items(), 2):
        draw_picture(axes[place], volume_hu.take(volume_hu.shape[axis] // 2, axis), plane, letters, **grey_of_hu())
    return figure
