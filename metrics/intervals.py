"""Say how sure a mean over patients is: bootstrap intervals, and differences of two models on the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conventions import InputError

RESAMPLES, CONFIDENCE = 10_000, 0.95
"""Number of resampled cohorts, and the share of their means that an interval holds."""


@dataclass(frozen=True)
class Interval:
    """A mean over cases with its interval."""

    mean: float
    """Mean over the cases."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    cases: int
    """Number of cases that were measured."""
    patients: int
    """Number of patients they belong to."""


def bootstrap_interval(
    values: Sequence[float], patients: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Compute a percentile interval of a mean by resampling patients with all their cases.

    Args:
        values: one for each case; those that are not finite are left out.
        patients: patient of each case.
        resamples: number of resampled cohorts.
        seed: seed of the resampling.

    Raises:
        InputError: where fewer than two patients were measured, which say nothing about others.
    """
    measured = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(measured)
    names, number = np.unique(np.asarray(patients)[finite], return_inverse=True)
    if len(names) < 2:
        raise InputError(f"an interval needs two patients or more that were measured, got {len(names)}; evaluate more")
    measured = measured[finite]
    sums, counts = np.bincount(number, measured), np.bincount(number)
    drawn = np.random.default_rng(seed).integers(len(names), size=(resamples, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(measured.mean()), float(low), float(high), len(measured), len(names))


def paired_difference(
    first: Sequence[float], second: Sequence[float], patients: Sequence[str], seed: int = 0
) -> Interval:
    """Compute the mean difference of two models on the same cases, first less second, with its interval.

    Args:
        first: one value for each case.
        second: those of the other model, in the same order.
        patients: patient of each case.
        seed: seed of the resampling.

    Raises:
        InputError: where the numbers of values differ, or fewer than two patients have both.
    """
    if len(first) != len(second):
        raise InputError(f"differences need the same cases, got {len(first)} and {len(second)}")
    return bootstrap_interval([a - b for a, b in zip(first, second, strict=True)], patients, seed=seed)
