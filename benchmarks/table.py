"""Measure what of the table stays in a prepared CT, and what of the patient is lost with it.

Writes its section of docs/benchmarks.md. Run from the repository, with a folder of chest CTs:
    python -m benchmarks.table --data FOLDER

Method: Each CT is read and resampled to 1 mm as `cohort prepare` does it, and the body found as there ("ours"). The
baseline is what scripts for this purpose mostly do: the largest connected part above -500 HU, and what it encloses in
axial slices. Both are compared with outlines of the body that were drawn by hand on six axial slices
(`benchmarks/body_outlines.json` says how). Dice is that of all six slices together. Volumes are areas on
the six slices times the distance between them, so they stand for the whole scan, and count what is denser than -400 HU:
"outside" is what the CT holds outside the outline (table, mattress, clothes, wires), "left" what of it the mask keeps,
and "lost" what of the patient, inside the outline, the mask takes away; "lost deep" is the part of it that lies more
than 3 mm inside the outline. An outline is drawn to about 1 mm, which is 5 to 10 ml in 100 mm of scan. "removed" is
all that the mask removes from the CT, outlined or not.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import fire
import numpy as np
from scipy import ndimage
from skimage.draw import polygon2mask

from benchmarks.report import replace_section
from cohort.prepare.coverage import measure_coverage
from cohort.prepare.resample import resample, straight_grid
from cohort.prepare.sources import find_sources
from conventions import LPS_TO_RAS, InputError, report_input_errors
from readers import SKIN_HU, read_ct

TITLE = "Table removal"
"""Title of its section of the page."""

OUTLINES = Path(__file__).with_name("body_outlines.json")
"""Outlines that were drawn by hand."""

SPACING = 1.0
"""Voxel spacing of the volumes in mm."""

BASELINE_HU = -500
"""HU between air and body of the baseline."""

DEEP_MM = 3.0
"""Depth below the outline from which a loss is no question of where the skin begins."""


@dataclass(frozen=True)
class Removal:
    """Comparison of a mask with the outlines of one CT, as the docstring of this module defines it.

    Args:
        dice: overlap, 0 to 1.
        outside: ml.
        left: ml.
        lost: ml.
        deep: ml.
    """

    dice: float
    outside: float
    left: float
    lost: float
    deep: float


def outlined(slices: Sequence[Mapping[str, list]], affine: np.ndarray, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Return the body of each outlined slice.

    Args:
        slices: `z` and `polygons`, in patient coordinates (mm, LPS).
        affine: (4, 4) voxel index to RAS in mm.
        shape: (D, H, W) of the volume.

    Returns:
        Index of the slice -> (H, W) bool.
    """
    to_voxel = np.linalg.inv(affine)
    bodies: dict[int, np.ndarray] = {}
    for one in slices:
        body = np.zeros(shape[1:], bool)
        for polygon in one["polygons"]:
            points = np.column_stack([polygon, np.full(len(polygon), one["z"])]) * LPS_TO_RAS
            index = points @ to_voxel[:3, :3].T + to_voxel[:3, 3]
            body |= polygon2mask(shape[1:], index[:, 1:])
        bodies[round(float(index[0, 0]))] = body
    return bodies


def compare(mask: np.ndarray, volume_hu: np.ndarray, bodies: Mapping[int, np.ndarray]) -> Removal:
    """Compare a mask with outlines.

    Args:
        mask: (D, H, W) bool.
        volume_hu: (D, H, W) HU.
        bodies: index of a slice -> (H, W) bool.
    """
    numbers = list(bodies)
    drawn, found = np.stack(list(bodies.values())), mask[numbers]
    dense = volume_hu[numbers] > SKIN_HU
    inner = np.stack([ndimage.distance_transform_edt(np.pad(body, 1, mode="edge"))[1:-1, 1:-1] for body in drawn])
    voxel_ml = len(mask) / len(numbers) * SPACING**3 / 1000
    lost = drawn & ~found & dense
    volumes = [drawn_part.sum() * voxel_ml for drawn_part in (~drawn & dense, ~drawn & dense & found, lost)]
    deep = (lost & (inner * SPACING > DEEP_MM)).sum() * voxel_ml
    return Removal(2 * (drawn & found).sum() / (drawn.sum() + found.sum()), *volumes, deep)


def baseline(volume_hu: np.ndarray) -> np.ndarray:
    """Return the largest part above `BASELINE_HU` and what it encloses in axial slices: (D, H, W) bool."""
    labels, _ = ndimage.label(volume_hu > BASELINE_HU)
    largest = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return np.stack([ndimage.binary_fill_holes(plane) for plane in largest])


def run(data: str, outlines: str = str(OUTLINES), output: str = "docs/benchmarks.md") -> None:
    """Measure and write the section.

    Args:
        data: folder of CTs in any mixture; those whose path ends as in the file of outlines are compared.
        outlines: JSON file of outlines.
        output: page that holds the section.

    Raises:
        InputError: where the folder holds no CT.
    """
    logging.getLogger("x2ct").setLevel(logging.ERROR)
    sources = find_sources(data).cts
    if not sources:
        raise InputError(f"{data}: holds no CT; give a folder of chest CTs")
    drawn = {file: one["slices"] for one in json.loads(Path(outlines).read_text())["cts"] for file in one["files"]}
    compared, others = [], []
    for source in sources:
        scan = read_ct(source.path, source.files)
        grid, centre = straight_grid(scan.volume_hu.shape, scan.affine, SPACING)
        volume, affine = resample(scan.volume_hu, scan.affine, grid, centre)
        _, body = measure_coverage(volume, affine, SPACING)
        plain = baseline(volume)
        dense = volume > SKIN_HU
        removed = [(dense & ~mask).sum() * SPACING**3 / 1000 for mask in (body, plain)]
        place = source.path.relative_to(data).as_posix()
        file = next((file for file in drawn if place.startswith(file)), None)
        name = file or place
        others.append(f"| {name} | {removed[0]:.0f} | {removed[1]:.0f} |")
        if file is not None:
            bodies = outlined(drawn[file], affine, volume.shape)
            for way, mask in (("ours", body), ("baseline", plain)):
                one = compare(mask, volume, bodies)
                compared.append(
                    f"| {name} | {way} | {one.dice:.4f} | {one.outside:.0f} | {one.left:.1f} | {one.lost:.1f} | "
                    f"{one.deep:.1f} |"
                )
        print("\n".join([*compared[-2:], others[-1]]), flush=True)
    lines = [
        "Written by `python -m benchmarks.table --data FOLDER`.",
        "",
        __doc__.partition("Method: ")[2] if __doc__ else "",
        "| CT | mask | Dice | outside, ml | left, ml | lost, ml | lost deep, ml |",
        "|---|---|---|---|---|---|---|",
        *compared,
        "",
        "| CT | removed, ml | removed by the baseline, ml |",
        "|---|---|---|",
        *others,
    ]
    replace_section(output, TITLE, lines)


if __name__ == "__main__":
    report_input_errors()
    fire.Fire(run)
