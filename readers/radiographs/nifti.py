"""Read the DRRs of a NIfTI file."""

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


def read_nifti(file: Path) -> list[tuple[np.ndarray, Mark]]:
    """Read the radiographs of a NIfTI file, which are taken for DRRs.

    Args:
        file: one file of all views, (rows, columns, views) in [0, 1]; or one that `python -m drr` wrote,
            (columns, rows, 1), recognised by its mark, in version 0.1 by its note.

    Returns:
        For each view (rows, columns) float32 in [0, 1], and its mark.

    Raises:
        InputError: where the file is unreadable or of another shape, or its values do not lie in [0, 1].
    """
    if not has_nibabel:
        raise InputError(f"{file}: reading NIfTI needs the package nibabel; install it")
    try:
        image = nibabel.load(file)
        shape = tuple(image.shape)
        mark = _mark(file, image.header) if shape[2:] == (1,) else None
        if mark is None and (len(shape) != 3 or shape[2] != len(View)):
            # A single plane is refused: image writers put its columns first, arrays their rows.
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
    if mark is not None:
        return [(np.ascontiguousarray(pixels[..., 0].T), mark)]
    return [(np.ascontiguousarray(pixels[..., i]), UNMARKED) for i in range(len(View))]


def _mark(file: Path, header: Any) -> Mark | None:
    """Return the mark of a file that `python -m drr` wrote, None for any other."""
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
