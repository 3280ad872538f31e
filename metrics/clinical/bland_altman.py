"""Compare two ways of measuring the same quantity (Bland and Altman, Lancet 1986)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from conventions import InputError

AGREEMENT_FACTOR = 1.96
"""Standard deviations on each side of the bias within which 95 % of normal differences lie."""


@dataclass(frozen=True)
class BlandAltman:
    """The agreement of measured with reference values, in their unit."""

    cases: int
    """Number of cases in which both were measured."""
    bias: float
    """Mean difference, measured less reference."""
    low: float
    """Lower limit of agreement: the bias less 1.96 standard deviations of the differences."""
    high: float
    """Upper limit of agreement."""
    mean_absolute: float
    """Mean absolute difference."""
    mean_absolute_percent: float
    """Mean absolute difference in percent of the reference."""


def bland_altman(measured: torch.Tensor, reference: torch.Tensor) -> BlandAltman:
    """Compute bias and limits of agreement.

    Args:
        measured: (cases,); cases that are NaN in either are left out.
        reference: (cases,), same unit.

    Raises:
        InputError: where fewer than two cases have both, so that there are no limits.
    """
    both = torch.isfinite(measured) & torch.isfinite(reference)
    x, y = measured[both].double(), reference[both].double()
    if len(x) < 2:
        raise InputError(f"limits of agreement need two cases or more that were measured, got {len(x)}")
    difference = x - y
    bias, spread = float(difference.mean()), AGREEMENT_FACTOR * float(difference.std())
    return BlandAltman(
        cases=len(x),
        bias=bias,
        low=bias - spread,
        high=bias + spread,
        mean_absolute=float(difference.abs().mean()),
        mean_absolute_percent=float(100 * (difference / y).abs().mean()),
    )
