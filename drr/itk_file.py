"""A CT in a format of ITK for `python -m drr`: MHA, NRRD, a folder of DICOM slices.

NIfTI is read by `transforms.ReadVolume`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import HU_AIR, HU_MAX, LPS_TO_RAS, InputError

itk, has_itk = optional_import("itk")

AIR_HU = (-1100.0, -500.0)
MIN_AIR = 0.01
"""At least this share of a chest CT's voxels is lung or air; an image without is not in HU. Padding does not count."""


def read_itk(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
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
    if image.GetMetaDataDictionary().HasKey("ITK_non_uniform_sampling_deviation"):
        raise InputError(
            f"{file}: its slices are not evenly spaced, some may be missing; export the whole series again"
        )
    volume_hu = voxels.transpose(2, 1, 0).astype(np.float32)
    _check_values(file, volume_hu)
    return volume_hu.clip(HU_AIR, HU_MAX), _affine(image)


def _series(folder: Path) -> list[str]:
    """Files of the one DICOM series in a folder, in order; series of a single image (localizers) do not count."""
    names = itk.GDCMSeriesFileNames.New()
    names.SetDirectory(str(folder))
    series = [files for uid in names.GetSeriesUIDs() if len(files := list(names.GetFileNames(uid))) > 1]
    if len(series) != 1:
        raise InputError(f"{folder}: holds {len(series)} DICOM series of several slices; give a folder with one")
    return series[0]


def _check_values(file: Path, volume_hu: np.ndarray) -> None:
    """Raise an `InputError` where voxel values are not those of a chest CT in HU."""
    if not np.isfinite(volume_hu).all():
        raise InputError(f"{file}: holds voxels that are not finite (NaN or infinite); export the CT again")
    share = np.mean((volume_hu > AIR_HU[0]) & (volume_hu < AIR_HU[1]))
    if share < MIN_AIR:
        raise InputError(
            f"{file}: values run from {volume_hu.min():g} to {volume_hu.max():g} and {share:.0%} of them are like air "
            "or lung (about -1000 to -500), so it is not in HU; apply the rescale slope and intercept first"
        )


def _affine(image: Any) -> np.ndarray:
    """(4, 4) voxel to RAS in mm of an ITK image, whose positions are LPS."""
    steps = itk.array_from_matrix(image.GetDirection()) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = np.array(LPS_TO_RAS)[:, None] * steps
    affine[:3, 3] = LPS_TO_RAS * np.array(image.GetOrigin())
    return affine
