"""Leave out what padding, shutter and collimator cover in a DICOM radiograph (PS3.3 C.7.6.11, C.8.7.3)."""

from __future__ import annotations

import numpy as np
from monai.utils import optional_import

from .header import Header

Image, has_pillow = optional_import("PIL.Image")
ImageDraw, _ = optional_import("PIL.ImageDraw")

LEAST_SHARE = 0.1
"""Smallest share of the image that tags may leave; tags that leave less are ignored."""

EDGES = ("LeftVerticalEdge", "RightVerticalEdge", "UpperHorizontalEdge", "LowerHorizontalEdge")


def valid_pixels(header: Header, stored: np.ndarray) -> np.ndarray:
    """Mark the pixels that neither padding nor shutter nor collimator covers.

    Args:
        header: tags of the film.
        stored: (rows, columns) stored values, to which PixelPaddingValue (0028,0120) refers.

    Returns:
        (rows, columns) bool.
    """
    parts = {
        "padding": _padding(header, stored),
        "shutter": _shape(header, "Shutter", stored.shape),
        "collimator": _shape(header, "Collimator", stored.shape),
    }
    valid = np.ones(stored.shape, bool)
    for name, inside in parts.items():
        if inside is None or inside.all():
            continue
        if (valid & inside).mean() < LEAST_SHARE:
            header.record.doubt(name, f"the {name} leaves {(valid & inside).mean():.0%} of the image; it is ignored")
            continue
        valid &= inside
        header.record.found(name, f"{1 - inside.mean():.0%} of the image lies behind the {name} and is left out")
    return valid


def _padding(header: Header, stored: np.ndarray) -> np.ndarray | None:
    value = header.number("PixelPaddingValue")
    if value is None:
        return None
    limit = header.number("PixelPaddingRangeLimit")
    bits = int(header.number("BitsStored") or 16)
    signed = header.number("PixelRepresentation") == 1
    ends = sorted(_as_stored(int(end), bits, signed) for end in (value, value if limit is None else limit))
    return (stored < ends[0]) | (stored > ends[1])


def _as_stored(value: int, bits: int, signed: bool) -> int:
    """Return a padding value with the bits and the sign of a pixel, whichever VR it was written with."""
    value &= 2**bits - 1
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


def _shape(header: Header, kind: str, size: tuple[int, ...]) -> np.ndarray | None:
    """Return the region inside the shutter or the collimator: the intersection of its shapes."""
    inside = None
    for shape in header.words(f"{kind}Shape"):
        if shape == "RECTANGULAR":
            part = _rectangle([header.number(f"{kind}{edge}") for edge in EDGES], size)
        elif shape == "CIRCULAR":
            part = _circle(header.numbers(f"CenterOfCircular{kind}"), header.number(f"RadiusOfCircular{kind}"), size)
        elif shape == "POLYGONAL":
            part = _polygon(header.numbers(f"VerticesOfThePolygonal{kind}"), size)
        else:
            part = None
        if part is None:
            header.record.doubt(kind.lower(), f"the tags do not say where the {kind.lower()} is")
        else:
            inside = part if inside is None else inside & part
    return inside


def _rectangle(edges: list[float | None], size: tuple[int, ...]) -> np.ndarray | None:
    """Return the inside of a rectangle; its edges, columns and rows counted from 1, belong to it."""
    left, right, upper, lower = edges
    if left is None or right is None or upper is None or lower is None:
        return None
    rows, columns = np.arange(1, size[0] + 1)[:, None], np.arange(1, size[1] + 1)
    return (rows >= upper) & (rows <= lower) & (columns >= left) & (columns <= right)


def _circle(centre: list[float], radius: float | None, size: tuple[int, ...]) -> np.ndarray | None:
    if len(centre) != 2 or radius is None:
        return None
    rows, columns = np.arange(1, size[0] + 1)[:, None], np.arange(1, size[1] + 1)
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def _polygon(vertices: list[float], size: tuple[int, ...]) -> np.ndarray | None:
    """Return the inside of a polygon of vertices row, column, row, column ... counted from 1."""
    if len(vertices) < 6 or len(vertices) % 2 or not has_pillow:
        return None
    mask = Image.new("1", (size[1], size[0]))
    corners = [(column - 1, row - 1) for row, column in zip(vertices[::2], vertices[1::2], strict=True)]
    ImageDraw.Draw(mask).polygon(corners, fill=1, outline=0)
    return np.asarray(mask, dtype=bool)
