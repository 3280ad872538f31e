"""Search the volumes of an evaluation for what its averages hide: a mirrored output, details of another body."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from conventions import InputError
from metrics import lung_volumes
from readers import lung_mask

from .case_files import VOLUMES, read_case

DETAIL_MM = 10.0
"""Standard deviation of the Gaussian that is taken away: what is left are ribs, vessels and borders."""

TISSUE_HU = -500.0
"""HU above which a voxel of the true CT is tissue and not air or lung; details are compared there."""


@dataclass
class VolumeFindings:
    """What the volumes of an evaluation show; lists have an entry for each case that could be looked at."""

    kept: bool
    """Whether the evaluation kept any volumes."""
    faults: list[str] = field(default_factory=list)
    """A sentence for each volume that is missing, damaged, of another shape, not finite or constant."""
    rms_hu: list[float] = field(default_factory=list)
    """Root mean square error in HU."""
    mirrored_rms_hu: list[float] = field(default_factory=list)
    """The same after the prediction was mirrored, left to right."""
    detail_strength: list[float] = field(default_factory=list)
    """Standard deviation of the details of the prediction as a share of that of the true ones."""
    detail_correlation: list[float] = field(default_factory=list)
    """Correlation of the details of the prediction with the true ones."""
    lung_ml: dict[str, float] = field(default_factory=dict)
    """Case -> volume of both lungs in the true CT in ml."""


def examine_volumes(folder: str | os.PathLike[str], cases: Sequence[str]) -> VolumeFindings:
    """Read the volumes of an evaluation, one case after the other.

    Args:
        folder: the `output_dir` of the evaluation.
        cases: names of its cases.

    Returns:
        What they show; a volume that cannot be used is a fault and no error.
    """
    found = VolumeFindings(kept=(Path(folder) / VOLUMES).is_dir())
    for case in cases if found.kept else ():
        try:
            content = read_case(folder, case)
        except InputError as error:
            found.faults.append(str(error))
            continue
        prediction, truth = content.prediction_hu, content.truth_hu
        if prediction.min() == prediction.max():
            found.faults.append(f"{case}: every voxel of the predicted volume is {prediction.min():g} HU")
        if truth is None:
            found.faults.append(f"{case}: the true CT was not kept")
            continue
        found.rms_hu.append(_rms(prediction - truth))
        found.mirrored_rms_hu.append(_rms(prediction[:, :, ::-1] - truth))
        spacing = content.acquisition.grid.spacing
        strength, correlation = _details(prediction, truth, spacing)
        found.detail_strength.append(strength)
        found.detail_correlation.append(correlation)
        if len(set(spacing)) == 1:
            lungs = torch.from_numpy(lung_mask(truth, spacing[0]))[None, None]
            found.lung_ml[case] = float(lung_volumes(lungs, spacing[0])["lung_total_ml"])
    return found


def _rms(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))


def _details(prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    """Return strength and correlation of the details of a prediction, NaN where the truth has none."""
    sigma = [max(DETAIL_MM / step, 1.0) for step in spacing]
    tissue = truth > TISSUE_HU
    if not tissue.any():
        return np.nan, np.nan
    own, true = ((volume - gaussian_filter(volume, sigma))[tissue].astype(np.float64) for volume in (prediction, truth))
    own_spread, true_spread = own.std(), true.std()
    if true_spread == 0:
        return np.nan, np.nan
    if own_spread == 0:
        return 0.0, 0.0
    covariance = np.mean((own - own.mean()) * (true - true.mean()))
    return float(own_spread / true_spread), float(covariance / (own_spread * true_spread))
