"""Write a NIfTI file that is marked as computed, with a JSON sidecar."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import MARK_NIFTI_CODE
from storage import set_aside, write_atomically, write_json

nibabel, _ = optional_import("nibabel")
Nifti1Extension, _ = optional_import("nibabel.nifti1", name="Nifti1Extension")


def write_marked_nifti(
    path: str | os.PathLike[str],
    voxels: np.ndarray,
    affine: np.ndarray,
    note: str,
    mark: str,
    sidecar: Mapping[str, Any],
) -> Path:
    """Write an image in scanner coordinates in mm, with its note, its mark and its sidecar.

    Args:
        path: file to write, ending in .nii or .nii.gz; a file of an earlier run is renamed, not overwritten.
        voxels: (X, Y, Z) as they are stored.
        affine: (4, 4) voxel index to RAS position in mm.
        note: what the image is, in the 80 characters of the field `descrip`.
        mark: what `conventions.mark` returned, written as a header extension.
        sidecar: content of the sidecar.

    Returns:
        The NIfTI file written; the sidecar has the same name with .json.
    """
    file = Path(path)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header["descrip"] = note.encode()
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.extensions.append(Nifti1Extension(MARK_NIFTI_CODE, mark.encode()))
    json_file = sidecar_path(file)
    set_aside(file, json_file)
    write_json(json_file, dict(sidecar))
    return write_atomically(file, lambda part: nibabel.save(image, part))


def sidecar_path(file: Path) -> Path:
    """Return the path of the sidecar of a NIfTI file: the same name with .json."""
    return file.with_name(file.name.removesuffix(".gz").removesuffix(".nii") + ".json")
