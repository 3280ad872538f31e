"""Read back a synthetic CT that `write_nifti` wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import InputError, MarkKind, read_mark

from .marked_nifti import sidecar_path

nibabel, _ = optional_import("nibabel")


def read_synthetic_ct(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Read a synthetic CT and its sidecar, and refuse any other file.

    Args:
        path: NIfTI file that `write_nifti` wrote, its sidecar next to it.

    Returns:
        Volume (X, Y, Z) int16 in HU, affine (4, 4) to RAS in mm, and the sidecar.

    Raises:
        InputError: where the file cannot be read, holds no mark of a synthetic CT, lacks its sidecar, or is no CT but
            its expected errors.
    """
    file = Path(path)
    try:
        image = nibabel.load(file)
        voxels, affine = np.asarray(image.dataobj), np.asarray(image.affine)
        texts = [extension.get_content() for extension in getattr(image.header, "extensions", ())]
    except Exception as error:  # nibabel raises whatever the broken bytes happen to cause
        reason = "there is no such file" if not file.exists() else "cannot be read as NIfTI"
        raise InputError(f"{file}: {reason}; give the .nii.gz of a CT that inferring wrote") from error
    marks = [mark for text in texts if (mark := read_mark(text)) is not None]
    if not any(mark.kind is MarkKind.SYNTHETIC_CT for mark in marks):
        raise InputError(
            f"{file}: holds no mark of a synthetic CT, so it must not be written as one; give a CT that inferring wrote"
        )
    sidecar = _sidecar(file)
    if sidecar.get("unit") != "HU" or voxels.dtype.kind not in "iu":
        raise InputError(
            f"{file}: holds {sidecar.get('unit', 'values of no unit')}, not a CT in HU; give the CT itself"
        )
    return voxels, affine, sidecar


def _sidecar(file: Path) -> dict[str, Any]:
    path = sidecar_path(file)
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: its sidecar {path.name}, which says how it was made, is missing or damaged; "
            "keep it next to the CT"
        ) from error
    return sidecar if isinstance(sidecar, dict) else {}
