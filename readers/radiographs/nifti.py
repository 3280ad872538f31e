"""Read the DRRs or films of a NIfTI file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import DRR_NOTE, MARK_NIFTI_CODE, InputError, Mark, MarkKind, View

from .computed import drr_mark
from .file_kind import MAX_PIXELS

nibabel, has_nibabel = optional_import("nibabel")

UNMARKED = Mark(kind=MarkKind.COMPUTED_RADIOGRAPH)
"""Facts about a DRR that does not state what made it."""


def read_nifti(file: Path) -> list[tuple[np.ndarray, Mark | None]]:
    """Read the radiographs of a NIfTI file.

    Args:
        file: one file of all views, (rows, columns, views): DRRs in [0, 1] where it carries their mark, else films of
            any values; or a DRR that `python -m drr` wrote, (columns, rows, 1), recognised by its mark, in version 0.1
            by its note.

    Returns:
        For each view (rows, columns) float32, of a film less its smallest value; and the mark of a DRR, None for a
        film.

    Raises:
        InputError: where the file is unreadable, of another shape or in colour, or a DRR does not lie in [0, 1].
    """
    if not has_nibabel:
        raise InputError(f"{file}: reading NIfTI needs the package nibabel; install it")
    try:
        image = nibabel.load(file)
        shape = tuple(image.shape)
        mark = _mark(file, image.header)
        if len(shape) != 3 or shape[2] != (len(View) if mark is None or shape[2] != 1 else 1):
            # A single plane is refused: image writers put its columns first, arrays their rows.
            raise InputError(f"{file}: shape {shape} is not (rows, columns, {len(View)} views); give PNG files instead")
        if math.prod(shape) > MAX_PIXELS:
            raise InputError(f"{file}: claims {shape} pixels, far more than a radiograph; export it again")
        if image.get_data_dtype().names is not None:
            raise InputError(f"{file}: is a colour image, not a radiograph; export it as grey")
        pixels = np.asarray(image.dataobj, dtype=np.float64)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # nibabel raises whatever the broken bytes happen to cause
        raise InputError(f"{file}: cannot be read as NIfTI, it is cut off or damaged; export it again") from error
    if not np.isfinite(pixels).all():
        raise InputError(f"{file}: has pixels that are not numbers (NaN or infinite); export it again")
    if mark is None:
        planes = [plane - plane.min() for plane in np.moveaxis(pixels, 2, 0)]
    elif pixels.min() < 0 or pixels.max() > 1:
        raise InputError(f"{file}: is marked as DRRs, whose values lie in [0, 1], bright = dense; compute them again")
    else:
        planes = [pixels[..., 0].T] if shape[2] == 1 else list(np.moveaxis(pixels, 2, 0))
    return [(np.ascontiguousarray(plane, np.float32), mark) for plane in planes]


def _mark(file: Path, header: Any) -> Mark | None:
    """Return the mark of a file of DRRs, None for any other."""
    for extension in getattr(header, "extensions", ()):
        if extension.get_code() == MARK_NIFTI_CODE and (mark := drr_mark(extension.get_content())):
            return mark
    if header["descrip"].item().rstrip(b"\0") != DRR_NOTE.encode():
        return None
    return drr_mark(_sidecar(file)) or UNMARKED  # version 0.1


def _sidecar(file: Path) -> str | None:
    """Return the content of a sidecar of version 0.1, without the numbers of the view."""
    sidecar = file.with_name(file.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(said, dict):
        return None
    return json.dumps({key: value for key, value in said.items() if isinstance(value, (str, bool))})
