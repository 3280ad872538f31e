"""Measure the film reference, `reference.json`, in the DRRs of a folder of CTs."""

from __future__ import annotations

import itertools
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor

from conventions import InputError, View
from drr import ANCHORS, CURVES, FILM_STYLES, PRESETS, Acquisition, VolumeGrid, hu_to_mu, preset, project, to_film
from readers import NIFTI_SUFFIXES, QUANTILES, box_of_tones, crop_to_box, equalised, lung_mask, mask_box
from storage import set_aside, to_json, write_atomically
from transforms import ReadVolume, ResampleToGrid

logger = logging.getLogger("x2ct.films")

GRID = VolumeGrid((128, 128, 128), 2.5)
"""Grid on which the CTs are measured."""

LEAST_LUNG_ML = 1800
"""Smallest lung volume of a scan that is used, so that neither lung is lost to an effusion."""

LEAST_HEIGHT_MM = 240
"""Smallest height of a scan that is used, so that it holds the whole lungs."""

LUNG_PATH_MM = 50
"""Path length through lung above which a pixel belongs to the shadow of the lungs."""

EXTRUDED = 36
"""Number of times that the end slices of a scan are repeated, so that the patient continues above and below."""

QUARTILES = (25, 50, 75)
"""Percentiles of the positions of the lungs that are kept."""


def make_reference(folder: str | os.PathLike[str], output: str | os.PathLike[str]) -> Path:
    """Measure the reference in all CTs of a folder that hold both lungs, and write it.

    Args:
        folder: folder of NIfTI files.
        output: JSON file to write; an existing one is renamed.

    Returns:
        The file written.

    Raises:
        InputError: where no CT can be used.
    """
    files = sorted(file for file in Path(folder).glob("*") if file.name.endswith(NIFTI_SUFFIXES))
    cases = [case for case in map(_Case.read, files) if case is not None]
    if not cases:
        raise InputError(f"{folder}: holds no CT of a whole chest in NIfTI format; give a folder of them")
    lungs = {
        f"{geometry} {anchor}": _quartiles([case.place(geometry, anchor) for case in cases])
        for geometry, anchor in itertools.product(PRESETS, ANCHORS)
    }
    tones = {
        f"{geometry} {curve} {film}": _tones(cases, geometry, curve, film)
        for geometry, curve, film in itertools.product(PRESETS, CURVES, FILM_STYLES)
    }
    thorax = {view: np.rint(255 * np.mean([case.thorax(i) for case in cases], 0)) for i, view in enumerate(View)}
    content = {
        "made_by": "python -m cohort reference",
        "cases": [case.name for case in cases],
        "thorax": {view: image.astype(int).tolist() for view, image in thorax.items()},
        "lungs": lungs,
        "tones": tones,
    }
    text = re.sub(r"\[([-\d.,\s]+)\]", lambda numbers: "[" + " ".join(numbers[1].split()) + "]", to_json(content))
    set_aside(output)
    return write_atomically(output, lambda part: part.write_text(text, encoding="utf-8"))


class _Case:
    """A CT on the grid and the mask of its lungs, for each anchor."""

    def __init__(self, name: str, volumes: dict[str, np.ndarray]) -> None:
        self.name = name
        self.volumes = volumes
        self.masks = {anchor: lung_mask(volume, GRID.spacing[0]) for anchor, volume in volumes.items()}

    @classmethod
    def read(cls, file: Path) -> _Case | None:
        """Read a case; None if it does not hold both lungs."""
        scan, name = ReadVolume()(file), file.name.removesuffix(".gz").removesuffix(".nii")
        height = float(np.abs(scan.affine.numpy()[2, :3]) @ np.array(scan.shape[1:]))
        lungs = lung_mask(_laid(scan, "centre"), GRID.spacing[0]).sum() * float(np.prod(GRID.spacing)) / 1000
        if height < LEAST_HEIGHT_MM or lungs < LEAST_LUNG_ML:
            logger.info("%s is left out: %.0f mm tall, %.0f ml of lung", name, height, lungs)
            return None
        return cls(name, {anchor: _laid(scan, anchor) for anchor in ANCHORS})

    def place(self, geometry: str, anchor: str) -> dict[str, dict[str, float]]:
        """Measure the edges of the lungs' shadow in each view, in mm from the isocentre in its plane."""
        views = preset(geometry, (256, 256))
        shadow = project(_tensor(self.masks[anchor]), GRID, views)[0].numpy() > LUNG_PATH_MM
        places = {}
        for view, beam, mask in zip(View, views, shadow, strict=True):
            pitch = beam.field_at_isocentre[0] / mask.shape[0]
            edges = [(edge - mask.shape[0] / 2) * pitch for edge in mask_box(mask)]
            places[view.value] = dict(zip(("top", "bottom", "left", "right"), edges, strict=True))
        return places

    def thorax(self, view: int) -> np.ndarray:
        """Render the equalised tones around the lungs of a patient who continues above and below the scan."""
        volume, mask = self.volumes["centre"], self.masks["centre"]
        body = np.flatnonzero((volume > -300).mean((1, 2)) > 0.05)
        first, last = body[0] + 1, body[-1] - 1
        above, below = first + EXTRUDED, len(volume) - 1 - last + EXTRUDED
        ends = volume[first : first + 1].repeat(above, 0), volume[last : last + 1].repeat(below, 0)
        extruded = np.concatenate([ends[0], volume[first : last + 1], ends[1]])
        lungs = np.pad(mask[first : last + 1], ((above, below), (0, 0), (0, 0)))
        grid = VolumeGrid(extruded.shape, GRID.spacing)
        beam = preset("chest", (128, 128))[view : view + 1]
        image = to_film(project(hu_to_mu(_tensor(extruded), "water"), grid, beam), "linear")[0, 0].numpy()
        shadow = project(_tensor(lungs), grid, beam)[0, 0].numpy() > LUNG_PATH_MM
        return crop_to_box(equalised(image), mask_box(shadow))


def _laid(scan: MetaTensor, anchor: str) -> np.ndarray:
    """Lay a CT on the grid: (D, H, W) HU."""
    return ResampleToGrid(Acquisition(grid=GRID, anchor=anchor))(scan).numpy()[0]


def _tensor(volume: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(volume, np.float32))[None, None]


def _quartiles(places: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """Return the quartiles over the cases, in mm: view -> edge -> quartiles."""
    return {
        view: {
            edge: np.percentile([place[view][edge] for place in places], QUARTILES).round(1).tolist() for edge in edges
        }
        for view, edges in places[0].items()
    }


def _tones(cases: Sequence[_Case], geometry: str, curve: str, film: str) -> dict[str, list[float]]:
    """Measure each quantile of the tones around the lungs, as its median over the cases: view -> quantiles."""
    spreads: dict[str, list[np.ndarray]] = {view.value: [] for view in View}
    views = preset(geometry, (128, 128))
    for case in cases:
        mu = hu_to_mu(_tensor(case.volumes["centre"]), curve)
        images = to_film(project(mu, GRID, views), film)[0].numpy()
        shadows = project(_tensor(case.masks["centre"]), GRID, views)[0].numpy() > LUNG_PATH_MM
        for view, image, shadow in zip(View, images, shadows, strict=True):
            around = image[box_of_tones(mask_box(shadow), image.shape)]
            spreads[view.value].append(np.quantile(around[around > 0], np.linspace(0, 1, QUANTILES)))
    return {view: np.median(values, 0).round(4).tolist() for view, values in spreads.items()}
