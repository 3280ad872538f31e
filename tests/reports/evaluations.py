"""Evaluations of phantoms by models of known faults, written as `evaluating` writes them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

from cohort import thorax_phantom
from drr import Acquisition, VolumeGrid
from export import write_nifti, write_truth
from metrics import HU_ERRORS, MEASURES, hu_errors, mae, psnr, reprojection_error

SIDE, SPACING = 40, 8.0
ACQUISITION = Acquisition(grid=VolumeGrid(SIDE, SPACING), detector_shape=SIDE)
HELD_OUT, TRAINING = range(3), range(3, 8)


@cache
def chests() -> tuple[np.ndarray, ...]:
    """Phantoms (D, H, W) in HU, those held out first."""
    shape = (SIDE,) * 3
    return tuple(
        np.clip(thorax_phantom(seed, shape, SPACING).volume_hu, -1024, 1476).astype(np.float32)
        for seed in (*HELD_OUT, *TRAINING)
    )


def mean_volume() -> np.ndarray:
    return np.mean([chests()[number] for number in TRAINING], axis=0)


def figures(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Some of the measures of an evaluation, of one case."""
    one, other = (torch.from_numpy(np.ascontiguousarray(volume))[None, None] for volume in (prediction, truth))
    views = ACQUISITION.views
    values = {
        "psnr_db": psnr(one, other, 2500.0),
        "mae_hu": mae(one, other),
        **hu_errors(one, other, other > -500),
        "reprojection_shown": reprojection_error(one, other, ACQUISITION.grid, views).mean(1),
    }
    return {name: float(value) for name, value in values.items()}


def write_evaluation(folder: Path, model, others=None, names=("a", "b", "c"), patients=None) -> Path:
    """Write record and volumes of a model, given as number of the case -> predicted volume.

    Args:
        folder: folder to write to.
        model: function of the number of a case.
        others: the same model given another case's radiographs; None takes that of the next case.
        names: names of the cases.
        patients: their patients; None gives each its own.
    """
    rows, affine = [], ACQUISITION.grid.affine()
    others = others or (lambda number: model((number + 1) % len(HELD_OUT)))
    for number, case in enumerate(names):
        truth, prediction = chests()[number], model(number)
        made = {"prediction": prediction, "mean_volume": mean_volume(), "shuffled_input": others(number)}
        for compared, volume in made.items():
            for name, value in figures(volume, truth).items():
                value = value if np.isfinite(value) else None
                rows.append({"case": case, "compared": compared, "measure": name, "value": value})
        volumes = folder / "volumes"
        write_nifti(volumes / f"{case}.nii.gz", prediction, affine, acquisition=ACQUISITION.record())
        write_truth(volumes / f"{case}_truth.nii.gz", truth, affine)
    measures = ("psnr_db", "mae_hu", *HU_ERRORS, "reprojection_shown")
    record = {
        "schema": "x2ct-evaluation 1",
        "model": {"network": {"name": "<raylift>"}},
        "measures": {name: MEASURES[name].record() for name in measures},
        "cases": [{"case": c, "patient": p} for c, p in zip(names, patients or names, strict=True)],
        "values": rows,
    }
    (folder / "evaluation.json").write_text(json.dumps(record))
    return folder
