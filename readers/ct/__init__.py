"""Read a CT from any supported format."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .itk import read_itk_ct
from .nifti import read_nifti_ct
from .suffixes import NIFTI_SUFFIXES


def read_ct(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read one CT: NIfTI, a format of ITK (MHA, MHD, NRRD), or a folder that holds one DICOM series.

    Args:
        path: file or folder.

    Returns:
        (X, Y, Z) float32 HU in the file's own axes, clipped to [-1024, 3071], and the (4, 4) affine from a voxel index
        to RAS in mm.

    Raises:
        InputError: where the file is missing, unreadable, not 3-D, not finite or not a chest CT in HU.
    """
    if Path(path).name.lower().endswith(NIFTI_SUFFIXES):
        return read_nifti_ct(path)
    return read_itk_ct(path)
