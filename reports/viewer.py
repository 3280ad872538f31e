"""Put volumes into a page as a viewer: two linked panes of NiiVue in HU windows, drawn by the reader's own browser."""

from __future__ import annotations

import base64
import gzip
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.utils import optional_import

from drr import Beam, VolumeGrid

from .figures import PLANES
from .page import ASSETS, asset

nibabel, _ = optional_import("nibabel")

NIIVUE = "niivue-0.69.0.umd.js.gz"
"""NiiVue as the npm package @niivue/niivue 0.69.0 has it, compressed; every page with a viewer contains it."""

LICENCE = "LICENSE-niivue.txt"
"""Licences of NiiVue and of what it contains, which have to go with every copy."""

HU_WINDOWS = {"Lung": (-600, 1500), "Soft tissue": (40, 400), "Bone": (500, 2000)}
"""Name of a window -> its level and width in HU."""

CLEAR_BELOW = {"Lung": -400, "Soft tissue": 0, "Bone": 150, "Whole range": 150}
"""Name of a window -> HU below which the rendering is clear: it begins at the skin, at muscle, at bone."""

VIEWS = ("planes", "axial", "coronal", "sagittal", "rendering")
"""What the panes can show: three planes and a rendering, one of the planes, or the rendering."""


@dataclass(frozen=True, eq=False)
class ViewerVolume:
    """One volume of a viewer.

    Args:
        name: word that identifies it.
        title: its name for readers.
        voxels: (D, H, W) on the viewer's grid; None is the absolute difference of two others.
        step: step in which values are kept: a coarser one makes the page smaller.
        unit: unit of the voxels.
        colours: colours, as matplotlib and NiiVue call them.
        shown: (low, high) of the colours; None takes the window in HU that the reader chooses.
        difference: names of the two volumes whose absolute difference it is.
    """

    name: str
    title: str
    voxels: np.ndarray | None
    step: int = 1
    unit: str = "HU"
    colours: str = "gray"
    shown: tuple[float, float] | None = None
    difference: tuple[str, str] | None = None


def window_range(name: str) -> tuple[float, float]:
    """Return the darkest and the brightest HU of a window."""
    level, width = HU_WINDOWS[name]
    return level - width / 2, level + width / 2


def viewer(
    volumes: Sequence[ViewerVolume],
    panes: tuple[str, str],
    grid: VolumeGrid,
    beams: Sequence[Beam] = (),
    beside: str = "",
    whole: tuple[float, float] = (-1024, 1476),
) -> str:
    """Return the HTML of a viewer, with its scripts and volumes; the style sheet is `viewer`.

    Without WebGL2 or scripts it says so, and the page has to show pictures of its own.

    Args:
        volumes: the volumes.
        panes: names of the volumes that the panes show at first.
        grid: grid of all volumes.
        beams: views of the pictures on the page; the place of the cross-hair is marked in `picture(..., view=number)`.
        beside: HTML to the right of the panes.
        whole: (low, high) in HU of the fourth window.
    """
    ranges = {**{name: window_range(name) for name in HU_WINDOWS}, "Whole range": whole}
    settings = {
        "windows": [{"name": name, "range": ranges[name], "clear": clear} for name, clear in CLEAR_BELOW.items()],
        "volumes": [
            {"name": v.name, "title": v.title, "unit": v.unit, "colours": v.colours, "range": v.shown}
            | ({} if v.difference is None else {"difference": v.difference})
            for v in volumes
        ],
        "views": [{"matrix": beam.projection_matrix.tolist(), "shape": beam.detector_shape} for beam in beams],
    }
    data = "".join(
        _data(f"volume-{v.name}", nifti(v.voxels, grid, v.step, v.title)) for v in volumes if v.voxels is not None
    )
    return (
        '<section id="viewer" class="screen" data-state="starting" aria-labelledby="viewer-title">\n'
        '<h2 id="viewer-title">Viewer</h2>\n'
        '<p role="status">The viewer is starting; without scripts, the planes below show the same volumes.</p>\n'
        f"{_controls(list(ranges), grid)}"
        f'<div class="bench"><div class="panes">\n{"".join(_pane(volumes, name) for name in panes)}</div>'
        f'<div class="beside">{beside}</div></div>\n<output class="values" aria-label="Values at the cross-hair">'
        "</output>\n</section>\n"
        f'<script type="application/json" id="viewer-settings">{_json(settings)}</script>\n'
        f"{data}{_data('niivue', (ASSETS / NIIVUE).read_bytes())}<script>\n{asset('viewer.js')}</script>\n"
    )


def licences() -> str:
    """Return the licences of the viewer's software, folded away."""
    return (
        '<details class="screen"><summary>The viewer is NiiVue 0.69.0: its licence and those of its parts</summary>'
        f"<pre>{html.escape(asset(LICENCE))}</pre></details>"
    )


def nifti(voxels: np.ndarray, grid: VolumeGrid, step: int, note: str) -> bytes:
    """Return a volume as a compressed NIfTI file in the order of RAS, the isocentre at the origin.

    Args:
        voxels: (D, H, W) on the grid.
        grid: its grid.
        step: step in which values are kept, the slope of the file.
        note: what it is, at most 80 characters.

    Returns:
        The file, of 8 bits where they hold all values and of 16 where not; the same bytes for the same volume.
    """
    steps = np.rint(voxels / step)
    kind = np.uint8 if steps.min() >= 0 and steps.max() <= 255 else np.int16
    # To the right, the front and the head.
    ras = np.ascontiguousarray(steps.astype(kind)[::-1, ::-1, ::-1].transpose(2, 1, 0))
    spacing = np.array(grid.spacing[::-1])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array(ras.shape) - 1) / 2
    image = nibabel.Nifti1Image(ras, affine)
    image.header.set_slope_inter(step, 0)
    image.header["descrip"] = note.encode()[:80]
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 6, mtime=0)


def _data(name: str, content: bytes) -> str:
    return f'<script type="application/octet-stream" id="{name}">{base64.b64encode(content).decode()}</script>\n'


def _json(content: Any) -> str:
    """Return JSON that cannot end the script it stands in."""
    return json.dumps(content).replace("<", "\\u003c")


def _controls(windows: Sequence[str], grid: VolumeGrid) -> str:
    buttons = "".join(
        f'<button type="button" data-window="{name}" aria-pressed="false">{name}</button>' for name in windows
    )
    options = "".join(f'<option value="{name}">{name.capitalize()}</option>' for name in VIEWS)
    sliders = "".join(
        f'<label for="slice-{plane}">{plane.capitalize()}</label><input type="range" id="slice-{plane}" name="{plane}" '
        f'min="1" max="{grid.shape[axis]}" step="1"><output for="slice-{plane}"></output>'
        for plane, (axis, _) in PLANES.items()
    )
    return (
        f'<div class="controls"><fieldset><legend>Window</legend>{buttons}</fieldset>'
        f'<label>View <select name="view">{options}</select></label>'
        f'<div class="slices" role="group" aria-label="Slices">{sliders}</div></div>\n'
    )


def _pane(volumes: Sequence[ViewerVolume], shown: str) -> str:
    options = "".join(
        f'<option value="{v.name}"{" selected" if v.name == shown else ""}>{html.escape(v.title)}</option>'
        for v in volumes
    )
    return (
        f'<div class="pane"><div class="head"><label>Volume <select>{options}</select></label>'
        '<span class="scale"></span></div><div class="box"><canvas tabindex="0" aria-label="Planes of the volume '
        'chosen above; the sliders move them"></canvas></div></div>\n'
    )
