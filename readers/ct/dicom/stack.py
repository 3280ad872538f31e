"""Order slices by their positions, and find the one step between them; tags that say the same are not asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SAME_MM = 0.02
"""Distance below which two positions are the same, however thin the slices are."""

SAME = 0.1
"""Distance between two slices, as a share of the step, below which they are at the same position."""

MAX_GAP = 1.5
"""Distance between two slices, in steps, above which one is missing."""

MAX_UNEVEN, ROUNDED_MM = 0.1, 0.06
"""Largest distance of a slice from its place in an even stack, as a share of the step, and in mm: some scanners round
positions to 0.1 mm."""

MAX_SIDEWAYS_MM = 1.0
"""Largest distance of a slice from its place in a straight stack, within its plane."""

MAX_LEAN_DEGREES = 45.0
"""Largest lean that a gantry could have."""


class StackError(Exception):
    """Reason why positions are not those of an even stack: what is wrong, and what to do, without the file."""


@dataclass(frozen=True)
class Stack:
    """An even stack of slices.

    Args:
        order: index of the slices along the normal, one for each position.
        origin: (3,) position of the first slice, LPS in mm.
        step: (3,) from one slice to the next, LPS in mm.
    """

    order: np.ndarray
    origin: np.ndarray
    step: np.ndarray


def at_same_position(positions: np.ndarray, normal: np.ndarray) -> list[np.ndarray]:
    """Group slices by their place along the normal.

    Args:
        positions: (N, 3) LPS in mm.
        normal: (3,) of length 1.

    Returns:
        Indices of the slices at each place, places in ascending order.
    """
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    apart = steps[steps > SAME_MM]
    same = max(SAME_MM, SAME * float(np.median(apart))) if apart.size else SAME_MM
    return np.split(order, np.flatnonzero(steps > same) + 1)


def even_stack(positions: np.ndarray, normal: np.ndarray) -> Stack:
    """Find the step of a stack with one slice at each place.

    Args:
        positions: (N, 3) LPS in mm, in any order.
        normal: (3,) of length 1.

    Returns:
        The stack; origin and step are those of the straight line that fits all positions best.

    Raises:
        StackError: where slices are missing, unevenly spaced or shifted against each other.
    """
    if len(positions) < 2:
        raise StackError("is a single slice; give the whole series")
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    _check_gaps(positions[order], along[order], normal)
    number = np.arange(len(order))
    step, origin = np.polyfit(number, positions[order], 1)
    away = positions[order] - (origin + number[:, None] * step)
    off = np.abs(away @ normal)
    pitch = float(step @ normal)
    if off.max() > max(MAX_UNEVEN * pitch, ROUNDED_MM):
        between = np.diff(along[order])
        raise StackError(
            f"its slices are not evenly spaced: {between.min():.3g} to {between.max():.3g} mm apart, up to "
            f"{off.max():.2g} mm from their places; reconstruct the series with one spacing"
        )
    if np.linalg.norm(away - np.outer(away @ normal, normal), axis=1).max() > MAX_SIDEWAYS_MM:
        raise StackError("its slices are shifted sideways against each other; reconstruct the series with one field")
    lean = float(np.degrees(np.arctan2(np.linalg.norm(step - pitch * normal), pitch)))
    if lean > MAX_LEAN_DEGREES:
        raise StackError(f"its slices lean by {lean:.0f} degrees, more than any gantry; export the series again")
    return Stack(order, origin, step)


def _check_gaps(positions: np.ndarray, along: np.ndarray, normal: np.ndarray) -> None:
    """Raise a `StackError` that names the places of missing slices."""
    steps = np.diff(along)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > MAX_GAP * usual)
    if not len(gaps):
        return
    if len(gaps) > len(steps) / 4:
        raise StackError(
            f"its slices are not evenly spaced: {steps.min():.3g} to {steps.max():.3g} mm apart; reconstruct the "
            "series with one spacing"
        )
    axis = int(np.abs(normal).argmax())
    places = ", ".join(
        f"{'xyz'[axis]} = {positions[gap][axis]:.1f} and {positions[gap + 1][axis]:.1f} mm" for gap in gaps[:3]
    )
    more = f" and in {len(gaps) - 3} more places" if len(gaps) > 3 else ""
    raise StackError(
        f"slices are missing between {places}{more} (the others are {usual:.3g} mm apart); export the whole series "
        "again"
    )
