"""Fit the tones of films to line integrals that a volume predicts for them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from torch import Tensor

BINS = 48
"""Grey levels at which a monotone curve is fitted, each with as many pixels."""

SMOOTHING = np.array([1, 2, 3, 2, 1]) / 9
"""Weights of neighbouring bins, by which the flat pieces of isotonic regression become slopes: a film without steps."""


def fit_affine(film: Tensor, expected: Tensor, rays: Tensor) -> Tensor:
    """Map the values of each view by the rising line that fits what is expected, in the sense of least squares.

    Args:
        film: film values or line integrals (B, V, rows, columns).
        expected: line integrals that the volume predicts, same shape.
        rays: whether each pixel takes part, same shape, 1 or 0.

    Returns:
        Line integrals, same shape. The line itself is a constant to the gradient, which reaches `film`. A view that is
        constant, or inverted, becomes the mean of what is expected.
    """
    with torch.no_grad():
        weights = rays.double()
        count = weights.sum((2, 3), keepdim=True).clamp(min=1)
        mean_film, mean_expected = (
            (weights * values.double()).sum((2, 3), keepdim=True) / count for values in (film, expected)
        )
        of_film = weights * (film.double() - mean_film)
        slope = (of_film * (expected.double() - mean_expected)).sum((2, 3), keepdim=True)
        # A film that is bright where the volume is thin has no tones to fit; it must not be inverted silently.
        slope = (slope / of_film.square().sum((2, 3), keepdim=True).clamp(min=1e-12)).clamp(min=0)
        offset = mean_expected - slope * mean_film
    return film * slope.to(film.dtype) + offset.to(film.dtype)


def fit_monotone(film: Tensor, expected: Tensor, rays: Tensor) -> Tensor:
    """Map the values of each view by the increasing curve that fits what is expected: a film of unknown curve.

    In `BINS` bins with as many pixels each, the median of what is expected is taken; isotonic regression makes it
    increasing, neighbouring bins are averaged, and straight lines join them. Beyond the first and the last bin, the
    curve goes on as the line through all bins.

    Args:
        film: film values (B, V, rows, columns), brighter where denser.
        expected: as in `fit_affine`.
        rays: as in `fit_affine`.

    Returns:
        As in `fit_affine`.
    """
    fitted = torch.zeros_like(film)
    for case in range(film.shape[0]):
        for view in range(film.shape[1]):
            chosen = rays[case, view] > 0
            values = film[case, view]
            levels, curve = _curve(values[chosen].detach(), expected[case, view][chosen].detach())
            fitted[case, view] = _along(values.double(), levels.to(film.device), curve.to(film.device)).to(film.dtype)
    return fitted


def _curve(film: Tensor, expected: Tensor) -> tuple[Tensor, Tensor]:
    """Return film values, increasing, and the line integrals that they stand for."""
    x, y = film.double().cpu().numpy(), expected.double().cpu().numpy()
    if x.size == 0 or x.max() == x.min():
        middle = float(np.median(y)) if y.size else 0.0
        return torch.tensor([0.0, 1.0]).double(), torch.tensor([middle, middle]).double()
    order = np.argsort(x, kind="stable")
    parts = [part for part in np.array_split(order, min(BINS, x.size)) if part.size]
    levels = np.array([x[part].mean() for part in parts])
    medians = np.array([np.median(y[part]) for part in parts])
    curve = isotonic_regression(medians, weights=[part.size for part in parts]).x
    reach = len(SMOOTHING) // 2
    curve = np.convolve(np.pad(curve, reach, mode="reflect", reflect_type="odd"), SMOOTHING, mode="valid")
    # Equal film values in several bins, as of black air, are one level.
    unique, inverse = np.unique(levels, return_inverse=True)
    curve = np.bincount(inverse, weights=curve) / np.bincount(inverse)
    if len(unique) == 1:
        return torch.tensor([0.0, 1.0]).double(), torch.tensor([curve[0], curve[0]]).double()
    slope = max(float(np.polyfit(unique, curve, 1)[0]), 0.0)
    span = unique[-1] - unique[0]
    unique = np.concatenate([[unique[0] - span], unique, [unique[-1] + span]])
    curve = np.concatenate([[curve[0] - slope * span], curve, [curve[-1] + slope * span]])
    return torch.from_numpy(unique), torch.from_numpy(curve)


def _along(values: Tensor, levels: Tensor, curve: Tensor) -> Tensor:
    """Interpolate a curve with straight lines; the gradient reaches the values."""
    right = torch.searchsorted(levels, values.detach().contiguous()).clamp(1, len(levels) - 1)
    left = right - 1
    share = (values - levels[left]) / (levels[right] - levels[left])
    return curve[left] + share.clamp(0, 1) * (curve[right] - curve[left])
