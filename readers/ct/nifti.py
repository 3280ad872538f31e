"""Read a CT in NIfTI format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import HU_AIR, HU_MAX, InputError

from .checks import check_axes, check_hu
from .suffixes import NIFTI_SUFFIXES

nibabel, has_nibabel = optional_import("nibabel")


def read_nifti_ct(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a CT from a NIfTI file.

    Args:
        path: file ending in one of `NIFTI_SUFFIXES`.

    Returns:
        (X, Y, Z) float32 HU in the file's own axes, clipped to [-1024, 3071], and its (4, 4) affine (RAS, mm).

    Raises:
        InputError: where the file is missing, unreadable, not 3-D, not finite, without orientation or not in HU.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; give the path of a CT in NIfTI format")
    if not file.name.lower().endswith(NIFTI_SUFFIXES):
        raise InputError(f"{file}: not a NIfTI file by its name; convert the CT to .nii or .nii.gz")
    if not has_nibabel:
        raise InputError(f"{file}: reading NIfTI needs the package nibabel; install it")
    try:
        image = nibabel.load(file)
        shape = _shape(file, image)
        voxels = np.array(image.dataobj, dtype=np.float32).reshape(shape)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # nibabel raises whatever the broken bytes happen to cause
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: cannot be read as NIfTI ({reason}); export the CT again") from error
    check_hu(file, voxels)
    return voxels.clip(HU_AIR, HU_MAX), np.asarray(image.affine)


def _shape(file: Path, image: Any) -> tuple[int, int, int]:
    """Return the 3-D shape of a NIfTI image, or raise an `InputError` if it has none or no orientation."""
    shape = tuple(image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(f"{file}: has {len(shape)} dimensions {shape}, a CT has 3; extract one volume")
    if min(shape) < 2:
        raise InputError(f"{file}: is a single slice of {shape} voxels; give the whole CT as one file")
    if not image.header["qform_code"] and not image.header["sform_code"]:
        raise InputError(f"{file}: states no orientation (qform and sform code 0); export it with its orientation")
    check_axes(file, image.affine, shape)
    return shape
