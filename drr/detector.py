"""From line integrals to the look of a film: float images in [0, 1], bright = dense."""

from __future__ import annotations

import torch

from conventions import InputError

LINEAR_MAX = 8.0
"""Line integral that film style `linear` shows as 1; a PA chest reaches about 6."""


def _linear(line_integrals: torch.Tensor) -> torch.Tensor:
    return line_integrals.clamp(0, LINEAR_MAX) / LINEAR_MAX


def _x2ct(line_integrals: torch.Tensor) -> torch.Tensor:
    maximum = line_integrals.amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(line_integrals.dtype).tiny)
    grey = line_integrals / maximum
    eight_bit = torch.floor(grey.clamp(0, 1) * 255) / 255
    # The 8-bit steps have no slope; the gradient passes as if they were not there.
    return grey + (eight_bit - grey).detach()


FILM_STYLES = {"linear": _linear, "x2ct": _x2ct}
"""The styles by name: `linear` clips to [0, 8] and divides by 8, so absolute attenuation is kept; `x2ct` is the
authors' 8-bit image divided by its own maximum, so only contrast is kept."""


def to_film(line_integrals: torch.Tensor, style: str = "linear") -> torch.Tensor:
    """Turn line integrals into a film-like image.

    Args:
        line_integrals: (..., rows, columns), dimensionless.
        style: a key of `FILM_STYLES`.

    Returns:
        Same shape, [0, 1], bright = dense.

    Raises:
        InputError: where the style is unknown.
    """
    if style not in FILM_STYLES:
        raise InputError(f"unknown film style {style!r}: choose one of {', '.join(FILM_STYLES)}")
    return FILM_STYLES[style](line_integrals)
