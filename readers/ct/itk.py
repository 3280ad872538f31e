"""Read a CT in a format of ITK: MHA, MHD, NRRD, or a folder of DICOM slices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import HU_AIR, HU_MAX, LPS_TO_RAS, InputError

from .checks import check_axes, check_hu

itk, has_itk = optional_import("itk")

MAX_UNEVENNESS = 0.1
"""Largest difference of the distance between two slices from the slice spacing, as a share of it: positions in DICOM
are rounded, and a missing slice makes a difference of almost 1."""

_UNEVENNESS_KEY = "ITK_non_uniform_sampling_deviation"
"""Key under which ITK puts the largest difference in mm if there is any."""


def read_itk_ct(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read one CT with ITK.

    Args:
        path: an image file, or a folder with the DICOM slices of one series.

    Returns:
        (X, Y, Z) float32 HU in the file's own axes, clipped to the 12-bit range of a CT, and the (4, 4) affine from a
        voxel to RAS in mm.

    Raises:
        InputError: where the file is missing, unreadable, not 3-D, not finite or not in HU.
    """
    file = Path(path)
    if not file.exists():
        raise InputError(f"{file}: there is no such file or folder; give a CT")
    if not has_itk:
        raise InputError(f"{file}: reading this format needs the package itk; install it, or give NIfTI")
    try:
        image = itk.imread(_series(file) if file.is_dir() else str(file))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise InputError(f"{file}: cannot be read as an image ({reason}); export the CT again") from error
    voxels = itk.array_view_from_image(image)
    if image.GetImageDimension() != 3 or voxels.ndim != 3 or min(voxels.shape) < 2:
        raise InputError(f"{file}: has the shape {voxels.shape[::-1]}, a CT has 3 axes and several slices")
    header = image.GetMetaDataDictionary()
    if header.HasKey(_UNEVENNESS_KEY) and header[_UNEVENNESS_KEY] > MAX_UNEVENNESS * image.GetSpacing()[2]:
        raise InputError(
            f"{file}: its slices are not evenly spaced, some may be missing; export the whole series again"
        )
    volume_hu = voxels.transpose(2, 1, 0).astype(np.float32)
    affine = _affine(image)
    check_axes(file, affine, volume_hu.shape)
    check_hu(file, volume_hu)
    return volume_hu.clip(HU_AIR, HU_MAX), affine


def _series(folder: Path) -> list[str]:
    """Return the files of the one DICOM series in a folder, in order; series of one image (localizers) do not count."""
    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(folder))
    series = [files for uid in names.GetSeriesUIDs() if len(files := list(names.GetFileNames(uid))) > 1]
    if len(series) != 1:
        raise InputError(f"{folder}: holds {len(series)} DICOM series of several slices; give a folder with one")
    return series[0]


def _affine(image: Any) -> np.ndarray:
    """Return the (4, 4) voxel index to RAS in mm of an ITK image, whose positions are LPS."""
    steps = itk.array_from_matrix(image.GetDirection()) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = np.array(LPS_TO_RAS)[:, None] * steps
    affine[:3, 3] = LPS_TO_RAS * np.array(image.GetOrigin())
    return affine
