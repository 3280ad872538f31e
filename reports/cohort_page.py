"""Show a prepared cohort on one page: a row for each CT, with its DRRs, planes and films, and what was noticed."""

from __future__ import annotations

import base64
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

SHOWN = Acquisition(
    geometry="chest", curve="water", film_style="linear", anchor="centre", grid=VolumeGrid(80, 5.0), detector_shape=128
)
"""How a CT is shown: in a cube of 400 mm around the centre of the scan."""

MOST_FILMS = 5
"""Number of films of a CT that are shown."""

THUMBNAILS = "thumbnails"
"""Folder of the pictures in a cohort."""

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { border-top: 1px solid #8886; padding: .5rem .6rem; text-align: left; vertical-align: top; }
img { width: 46rem; max-width: 100%; background: #000; border-radius: 4px; }
.flag { background: #b45309; color: #fff; border-radius: 3px; padding: 0 .35rem; margin-right: .25rem; }
.doubt { border-left: 3px solid #b45309; padding-left: .5rem; margin: .3rem 0; }
small { color: color-mix(in srgb, currentColor 65%, transparent); }
"""


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
    lost = "".join(
        f"<tr><td>{html.escape(Path(file).name)}</td><td>{html.escape(reason.replace(file, Path(file).name))}</td></tr>"
        for file, reason in refused
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Cohort</title><style>{_STYLE}</style>'
        f"<h1>Cohort</h1><p>{html.escape(summary)}; {len(refused)} refused.</p>"
        + (f"<h2>Refused</h2><table><tr><th>file<th>reason</tr>{lost}</table>" if lost else "")
        + f"<h2>CTs</h2><table>{''.join(rows)}</table></html>\n"
    )
    return write_atomically(path.parent / name, lambda part: part.write_text(page, encoding="utf-8"))


def _row(folder: Path, case: Mapping[str, Any]) -> str:
    films = case.get("films", [])
    pictures = [(_thumbnail(folder, case), "PA and lateral DRR, axial, coronal and sagittal plane")]
    if films:
        pictures.append((_film_thumbnail(folder, case["case"], films[:MOST_FILMS]), "films of the same patient"))
    flags = [f"{part} cut" for part in case["cut"]] + ["phantom"] * bool(case["phantom"])
    doubts = _doubts(case["decisions"])
    doubts += [f"{film['view']} film, {doubt}" for film in films for doubt in _doubts(film["decisions"])]
    source = case["source"]
    size = " x ".join(map(str, source["shape"]))
    steps = " x ".join(f"{mm:g}" for mm in source["spacing"])
    where = "beside the patient" if case["table"] == "kept" else "removed"
    facts = (
        f"{source['kind']}, {size} voxels of {steps} mm<br>lungs {case['lung_litres']:g} l, patient "
        f"{case['body_litres']:g} l, {case['removed_ml']:g} ml {where}"
    )
    return (
        f"<tr><td><b>{html.escape(case['case'])}</b><br><small>{html.escape(case['fold'])}</small>"
        f"<p>{''.join(f'<span class=flag>{html.escape(flag)}</span>' for flag in flags)}</p><small>{facts}</small>"
        + "".join(f"<p class=doubt>{html.escape(doubt)}</p>" for doubt in doubts)
        + "<td>"
        + "".join(
            f'<img alt="{html.escape(case["case"])}: {what}" '
            f'src="data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}">'
            for file, what in pictures
        )
        + "</tr>"
    )


def _doubts(decisions: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{one['subject']}: {one['text']}" for one in decisions if one["kind"] == "doubt"]


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
