"""Films of phantoms at clinical geometry with known lungs and landmarks."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from cohort import thorax_phantom
from conventions import View
from drr import ConeBeam, VolumeGrid, hu_to_mu, project, to_film
from readers import DecisionRecord

GRID = VolumeGrid((128, 128, 128), 2.5)
PIXELS = 400
DETECTOR_MM = 430.0
BEAMS = (
    ConeBeam.pa(sdd=1820, sod=1670, detector_size=DETECTOR_MM, detector_shape=(PIXELS, PIXELS)),
    ConeBeam.lateral(
        detector_side="left", sdd=1820, sod=1620, detector_size=DETECTOR_MM, detector_shape=(PIXELS, PIXELS)
    ),
)


@cache
def phantom(seed: int) -> np.ndarray:
    """Return (D, H, W) in HU."""
    return thorax_phantom(seed).volume_hu


@cache
def films(seed: int) -> np.ndarray:
    """Return the PA and the lateral film, (2, rows, columns) with a film's tones, bright = dense."""
    mu = hu_to_mu(torch.from_numpy(phantom(seed))[None, None], "water")
    linear = to_film(project(mu, GRID, BEAMS), "linear")[0].numpy()
    return (1 / (1 + np.exp(-9 * (linear - 0.35)))).astype(np.float32)


def lungs(seed: int) -> np.ndarray:
    """Return where air lies inside the chest, (D, H, W) bool; the phantom's lungs fill the middle of the body."""
    volume = phantom(seed)
    body = np.maximum.accumulate(volume > -300, 2) & np.maximum.accumulate((volume > -300)[..., ::-1], 2)[..., ::-1]
    body &= np.maximum.accumulate(volume > -300, 1) & np.maximum.accumulate((volume > -300)[:, ::-1], 1)[:, ::-1]
    return body & (volume < -500)


def shadow_box(seed: int, view: int) -> np.ndarray:
    """Return the edges (top, bottom, left, right) of the lungs' shadow on a film, in pixels."""
    path = project(torch.from_numpy(lungs(seed).astype(np.float32))[None, None], GRID, BEAMS)[0, view].numpy()
    edges: list[int] = []
    for axis in (1, 0):
        profile = (path > 50).sum(axis)
        there = np.flatnonzero(profile > 0.15 * profile.max())
        edges += [int(there[0]), int(there[-1]) + 1]
    return np.array(edges)


def as_read(pixels: np.ndarray, view: View, spacing: float | None = None, **meta: Any) -> MetaTensor:
    """Return a film as `ReadRadiograph` does."""
    said = {"spacing": spacing, "magnification": None, "computed": None, "record": DecisionRecord("film.png"), **meta}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(pixels, np.float32))[None], meta={"view": view, **said})
