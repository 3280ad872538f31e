"""Measure how far structures in matched films lie from those in the direct rendering in a model's geometry.

Writes its section of docs/benchmarks.md. Run from the repository, with a folder of whole-chest CTs (NIfTI):
    python -m benchmarks.field_of_view --dataset_dir FOLDER --repeats 3

Method: Each CT is rendered as a PA and a lateral film of 640 x 640 pixels on a detector of 430 mm, in a clinical
geometry that is drawn each time (SDD 1750-1850 mm, mid-plane 130-170 mm from the detector for PA and 180-220 mm for the
lateral, beam up to 15 mm off the patient's middle), given the tones of a film (a logistic curve) and cropped at random
by up to 40 pixels on each side. `MatchFieldOfView` brings the two to the geometry `chest`, either with nothing but the
pixel spacing at the detector ("known"; the magnification is assumed) or without it ("unknown"). Points of a 3 x 3 grid
around the centre of the lungs, 40 mm apart, are projected into the film and followed through the matching; the direct
rendering projects them from the CT into `chest`. "scale" is the mean distance that remains once both have the same
centre. "place" is the distance between the centres when the CT is laid so that its own lungs, known from its voxels,
are where the reference has them, since no film shows where a scan begins and ends. "heights" is the difference in
height between the two views. Distances are in mm in the patient's mid-plane. "turned" counts laterals whose front was
put on the wrong side. CTs that are cut through the lungs are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import fire
import numpy as np
import torch
from monai.data import MetaTensor

from benchmarks.report import replace_section
from cohort.film_reference import LEAST_HEIGHT_MM, LEAST_LUNG_ML, LUNG_PATH_MM
from conventions import InputError, View, report_input_errors
from drr import Acquisition, ConeBeam, VolumeGrid, project
from readers import NIFTI_SUFFIXES, DecisionRecord, lung_mask, mask_box
from transforms import MatchFieldOfView, RayCastDRR, ReadVolume, ResampleToGrid

TITLE = "Field of view"
"""Title of its section of the page."""

PIXELS, DETECTOR_MM, CUT = 640, 430.0, 40
"""Side of a film in pixels and in mm; largest number of pixels that are cropped on each side."""

WHOLE = VolumeGrid(180, 2.5)
"""Grid that holds a patient beyond the cube that a model sees."""

MODEL = Acquisition(geometry="chest", curve="water", film_style="linear", anchor="centre")
"""Acquisition to which the films are matched."""


@dataclass(frozen=True)
class Landing:
    """Distances in one view, in mm, as the docstring of this module defines them.

    Args:
        scale: mean distance once both have the same centre.
        place: distance between the centres.
        height: signed difference in height between the matched and the direct points.
        turned: whether the front of a lateral was put on the wrong side.
    """

    scale: float
    place: float
    height: float
    turned: bool


def landings(volume_hu: np.ndarray, rng: np.random.Generator, known: bool) -> dict[View, Landing]:
    """Render, match and follow one patient.

    Args:
        volume_hu: (D, H, W) HU on `WHOLE`.
        rng: random numbers for geometry and crop.
        known: whether the spacing is given.

    Returns:
        The distances in each view.

    Raises:
        InputError: where a film was refused.
    """
    lungs = lung_mask(volume_hu, WHOLE.spacing[0])
    middle = [np.flatnonzero(lungs.any(tuple({0, 1, 2} - {axis})))[[0, -1]].mean() for axis in range(3)]
    clinical = MODEL.replace(grid=WHOLE, geometry=_clinical(rng))
    beams = clinical.views
    films, cuts = [], []
    for image in RayCastDRR(clinical)(torch.from_numpy(volume_hu)[None]).as_tensor().numpy():
        top, left, bottom, right = rng.integers(0, CUT, 4)
        tones = 1 / (1 + np.exp(-9 * (image[top : PIXELS - bottom, left : PIXELS - right] - 0.35)))
        meta = {"spacing": DETECTOR_MM / PIXELS if known else None, "magnification": None, "computed": None}
        films.append(MetaTensor(torch.from_numpy(tones)[None].float(), meta={**meta, "record": DecisionRecord("film")}))
        cuts.append((top, left))
    match = MatchFieldOfView(MODEL)
    size = match.image_size
    placed = match(films).meta["films"]
    mask = torch.from_numpy(lungs.astype(np.float32))[None, None]
    shadow = project(mask, WHOLE, MODEL.views)[0].numpy()
    found = {}
    for i, view in enumerate(View):
        points = WHOLE.positions_lps(_around(middle, view))
        on_film = beams[i].project_points(points) + 0.5 - np.array(cuts[i])
        turned = any(d.kind == "changed" and d.subject == "orientation" for d in placed[i].record.decisions)
        if turned:
            on_film[:, 1] = films[i].shape[-1] - on_film[:, 1]
        top, bottom, left, right = placed[i].frame
        pitch = match.fields[i].pitch
        landed = (on_film - [top, left]) / [bottom - top, right - left] * size * pitch
        direct = (MODEL.views[i].project_points(points) + 0.5) * pitch
        t, b, le, r = mask_box(shadow[i] > LUNG_PATH_MM)
        reference = match.fields[i].place
        own = np.array([(t + b) / 2 - size / 2, (le + r) / 2 - size / 2]) * pitch
        aim = np.array([reference.top + reference.bottom, reference.left + reference.right]) / 2
        off = landed.mean(0) - direct.mean(0) - (aim - own)
        spread = np.linalg.norm((landed - landed.mean(0)) - (direct - direct.mean(0)), axis=1).mean()
        found[view] = Landing(
            float(spread), float(np.linalg.norm(off)), float(landed.mean(0)[0] - direct.mean(0)[0]), turned
        )
    return found


def _clinical(rng: np.random.Generator) -> list[ConeBeam]:
    """Draw a PA and a lateral view."""
    sdd = rng.uniform(1750, 1850)
    size = {"detector_size": DETECTOR_MM, "detector_shape": (PIXELS, PIXELS)}
    pa = ConeBeam.pa(sdd=sdd, sod=sdd - rng.uniform(130, 170), **size)
    lateral = ConeBeam.lateral(detector_side="left", sdd=sdd, sod=sdd - rng.uniform(180, 220), **size)
    off = rng.uniform(-15, 15, 4)
    return [pa.moved((off[0], 0, off[1])), lateral.moved((0, off[2], off[3]))]


def _around(middle: list[float], view: View) -> np.ndarray:
    """Return voxels of `WHOLE` around the centre of the lungs, in the mid-plane of the view."""
    steps = np.array([-1, 0, 1]) * 40 / WHOLE.spacing[0]
    d, h, w = middle
    return np.array([(d + a, h, w + b) if view is View.PA else (d + a, h + b, w) for a in steps for b in steps])


def table(results: Mapping[str, list[dict[View, Landing]]], refused: Mapping[str, int]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| spacing | films | scale PA | scale lateral | place PA | place lateral | heights | turned | refused |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for spacing, found in results.items():
        columns = [[pair[view].scale for pair in found] for view in View]
        columns += [[pair[view].place for pair in found] for view in View]
        columns += [[abs(pair[View.PA].height - pair[View.LATERAL].height) for pair in found]]
        cells = [f"{np.median(c):.1f} ({np.percentile(c, 90):.1f})" for c in columns]
        turned = sum(pair[View.LATERAL].turned for pair in found)
        yield f"| {spacing} | {len(found)} | {' | '.join(cells)} | {turned} | {refused[spacing]} |"
    yield ""
    yield "Median (90th percentile), mm."


def run(dataset_dir: str, repeats: int = 3, seed: int = 0, output: str = "docs/benchmarks.md") -> None:
    """Measure and write the section.

    Args:
        dataset_dir: folder of CTs.
        repeats: films of each CT.
        seed: seed of geometries and crops.
        output: page that holds the section.
    """
    rng = np.random.default_rng(seed)
    results: dict[str, list[dict[View, Landing]]] = {"known": [], "unknown": []}
    refused = dict.fromkeys(results, 0)
    names = []
    for file in sorted(file for file in Path(dataset_dir).iterdir() if file.name.endswith(NIFTI_SUFFIXES)):
        scan = ReadVolume()(file)
        volume = ResampleToGrid(MODEL.replace(grid=WHOLE))(scan).numpy()[0]
        height = float(np.abs(scan.affine.numpy()[2, :3]) @ np.array(scan.shape[1:]))
        lungs_ml = lung_mask(volume, WHOLE.spacing[0]).sum() * float(np.prod(WHOLE.spacing)) / 1000
        if height < LEAST_HEIGHT_MM or lungs_ml < LEAST_LUNG_ML:
            continue
        names.append(file.name.split(".")[0])
        for _ in range(repeats):
            for spacing, found in results.items():
                try:
                    found.append(landings(volume, rng, spacing == "known"))
                except InputError as error:
                    refused[spacing] += 1
                    print(error)
    if not names:
        raise InputError(f"{dataset_dir}: holds no CT of a whole chest in NIfTI format; give a folder of them")
    assert __doc__ is not None
    lines = ["Written by `python -m benchmarks.field_of_view`.", "", __doc__.partition("Method: ")[2]]
    lines += [
        f"{len(names)} CTs ({', '.join(names)}), {repeats} films of each, seed {seed}.",
        "",
        *table(results, refused),
    ]
    replace_section(output, TITLE, lines)
    print("\n".join(table(results, refused)))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    report_input_errors()
    fire.Fire(run)
