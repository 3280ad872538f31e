"""Read a CT in MHA, MHD or NRRD with ITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import LPS_TO_RAS, InputError

from ..record import DecisionRecord
from .checks import check_size
from .file_kind import CTKind
from .image_header import check_image_header
from .scan import Scan, finish_scan
from .slices import SliceStack

itk, has_itk = optional_import("itk")

_IO = {CTKind.NRRD: "NrrdImageIO", CTKind.META_IMAGE: "MetaImageIO"}


def read_itk_ct(file: Path, kind: CTKind, record: DecisionRecord) -> Scan:
    """Read one CT with ITK.

    Args:
        file: NRRD or MetaImage.
        kind: which of the two.
        record: takes the decisions.

    Returns:
        The CT.

    Raises:
        InputError: where the file is damaged, not 3-D, without geometry, not finite or not in HU.
    """
    if not has_itk:
        raise InputError(f"{file}: reading {kind} needs the package itk; install it, or give NIfTI")
    check_image_header(file, kind, record)
    voxels, affine = _read(file, kind)
    return finish_scan(file, voxels, affine, record)


def _read(file: Path, kind: CTKind) -> tuple[np.ndarray, np.ndarray]:
    """Return (X, Y, Z) values and the affine; ITK's own copy ends with this function."""
    try:
        image = itk.imread(str(file), imageio=getattr(itk, _IO[kind]).New())
    except RuntimeError as error:
        reason = " ".join(str(error).split())[-200:]
        raise InputError(f"{file}: cannot be read as {kind} ({reason}); export the CT again") from error
    voxels = itk.array_view_from_image(image)
    check_size(file, voxels.shape[::-1])
    stack = SliceStack(voxels.shape)
    for plane in voxels:
        stack.add(plane.astype(np.float32))
    return stack.volume(), _affine(image)


def _affine(image: Any) -> np.ndarray:
    """Return the (4, 4) voxel index to RAS in mm of an ITK image, whose positions are LPS."""
    steps = itk.array_from_matrix(image.GetDirection()) * np.array(image.GetSpacing())
    affine = np.eye(4)
    affine[:3, :3] = np.array(LPS_TO_RAS)[:, None] * steps
    affine[:3, 3] = LPS_TO_RAS * np.array(image.GetOrigin())
    return affine
