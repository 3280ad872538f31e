"""Radiographs computed from a CT: how our own files say so."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import InputError, View

from .sources import MAX_PIXELS

nibabel, has_nibabel = optional_import("nibabel")

PNG_KEY = "X2CT"
"""Keyword of the text chunk of a PNG file that holds, as JSON, what made it; see `export.write_png16`."""

KNOWN = ("statement", "geometry", "curve", "film", "view")
"""What is kept of that, where it is short text."""

NIFTI_NOTE = b"COMPUTED radiograph from CT, not acquired"
"""In the `descrip` field of the radiographs that `python -m drr` writes, (columns, rows, 1)."""

MANUFACTURER = "X2CT bundle"
"""Manufacturer (0008,0070) of our own DICOM files."""

_MADE_BY = re.compile(
    r"View (?P<view>[\w.-]+);.* geometry (?P<geometry>\w+), curve (?P<curve>\w+), film (?P<film>\w+)\."
)


def keep_known(said: Any) -> dict[str, Any] | None:
    """What a computed radiograph says of itself, without anything but the known technical words.

    Args:
        said: read from a file; anything.

    Returns:
        `computed_from_ct` and those of `KNOWN` that are there; None where it is not said to be computed.
    """
    if not isinstance(said, Mapping) or said.get("computed_from_ct") is not True:
        return None
    kept = {key: said[key] for key in KNOWN if isinstance(said.get(key), str) and len(said[key]) < 200}
    return {"computed_from_ct": True, **kept}


def computed_by_dicom(manufacturer: str, synthetic: str, derivation: str) -> dict[str, Any] | None:
    """The same of a DICOM file.

    Args:
        manufacturer: Manufacturer (0008,0070).
        synthetic: Synthetic Data (0008,001C).
        derivation: Derivation Description (0008,2111), as `python -m drr` words it.

    Returns:
        What made it; None where the file is not one of ours.
    """
    if manufacturer != MANUFACTURER or synthetic != "YES":
        return None
    match = _MADE_BY.search(derivation)
    return {"computed_from_ct": True, **(match.groupdict() if match else {})}


def stated_view(computed: Mapping[str, Any]) -> View | None:
    """The view that a computed radiograph names, where it is one of the model's."""
    name = str(computed.get("view", ""))
    if name in tuple(View):
        return View(name)
    return View.LATERAL if name.endswith("_lateral") else None


def read_nifti(file: Path) -> list[tuple[np.ndarray, dict[str, Any]]]:
    """Read the radiographs of a NIfTI file, which are taken for computed ones.

    Args:
        file: one file of all views, (rows, columns, views) in [0, 1]; or one that `python -m drr` wrote,
            (columns, rows, 1), recognised by its header.

    Returns:
        One a view: (rows, columns) float32 in [0, 1], and what it says of itself.

    Raises:
        InputError: where it is unreadable, of another shape, or its values do not lie in [0, 1].
    """
    if not has_nibabel:
        raise InputError(f"{file}: reading NIfTI needs the package nibabel; install it")
    try:
        image = nibabel.load(file)
        shape = tuple(image.shape)
        ours = image.header["descrip"].item().rstrip(b"\0") == NIFTI_NOTE and shape[2:] == (1,)
        if not ours and (len(shape) != 3 or shape[2] != len(View)):
            # A plane of its own is refused: image writers put its columns first, arrays their rows.
            raise InputError(f"{file}: shape {shape} is not (rows, columns, {len(View)} views); give PNG files instead")
        if math.prod(shape) > MAX_PIXELS:
            raise InputError(f"{file}: claims {shape} pixels, far more than a radiograph; export it again")
        pixels = np.asarray(image.dataobj, dtype=np.float32)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # nibabel raises whatever the broken bytes happen to cause
        raise InputError(f"{file}: cannot be read as NIfTI, it is cut off or damaged; export it again") from error
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        raise InputError(f"{file}: values must be finite and lie in [0, 1], bright = dense; scale the radiograph")
    if ours:
        return [(np.ascontiguousarray(pixels[..., 0].T), keep_known(_sidecar(file)) or {"computed_from_ct": True})]
    return [(np.ascontiguousarray(pixels[..., i]), {"computed_from_ct": True}) for i in range(len(View))]


def _sidecar(file: Path) -> Any:
    sidecar = file.with_name(file.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {**said, "view": said.get("name")} if isinstance(said, dict) else None
