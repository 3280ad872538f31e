"""Burn a warning into a corner of the slices of a synthetic CT."""

from __future__ import annotations

import os

import numpy as np
from monai.utils import optional_import

from conventions import HU_AIR, InputError

Image, has_pillow = optional_import("PIL.Image")
ImageDraw, _ = optional_import("PIL.ImageDraw")
ImageFont, _ = optional_import("PIL.ImageFont")

TEXT = "SYNTHETIC CT"

TEXT_HU, GROUND_HU = 1000, -1000
"""HU of the letters and of the ground behind them: white and black in every window of a chest."""

LEAST_COLUMNS = 80
"""Columns of the smallest slice on which the text is legible."""


def burn_corner_text(path: str | os.PathLike[str], stored: np.ndarray) -> np.ndarray:
    """Burn `TEXT` into the upper left corner of each slice, over at most two thirds of its width.

    Args:
        path: folder of the series, named in the error.
        stored: (slices, rows, columns) stored values, HU - `HU_AIR`.

    Returns:
        A copy with the text.

    Raises:
        InputError: where slices are too small for the text, or Pillow is missing.
    """
    if not has_pillow:
        raise InputError(f"{path}: a text in the corner needs the package pillow; install it")
    columns = stored.shape[2]
    font = ImageFont.load_default()
    if isinstance(font, ImageFont.FreeTypeFont):
        font = ImageFont.load_default(size=max(10, columns // 12))
    left, top, right, bottom = (round(edge) for edge in font.getbbox(TEXT))
    box = Image.new("1", (right - left + 4, bottom - top + 4))
    ImageDraw.Draw(box).text((2 - left, 2 - top), TEXT, fill=1, font=font)
    letters = np.asarray(box, dtype=bool)
    height, width = letters.shape
    if columns < LEAST_COLUMNS or height > stored.shape[1] or width > columns:
        raise InputError(
            f"{path}: slices of {stored.shape[1]} x {columns} voxels are too small for a text in the corner; "
            "leave it out"
        )
    burnt = stored.copy()
    burnt[:, :height, :width] = np.where(letters, TEXT_HU - HU_AIR, GROUND_HU - HU_AIR).astype(stored.dtype)
    return burnt
