"""Read a CT from any supported format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..record import DecisionRecord
from .dicom import read_dicom_ct
from .file_kind import CTKind, find_ct_kind
from .itk import read_itk_ct
from .nifti import read_nifti_ct
from .scan import CT_LOG, Scan


def read_ct(path: str | os.PathLike[str], files: Sequence[Path] = ()) -> Scan:
    """Read one CT and record every decision: NIfTI, MHA, MHD, NRRD, or DICOM.

    A file's content tells its format, not its name. A DICOM CT is a folder, searched with all folders below it, that
    holds one series of a chest among whatever else; or any file of the series, which stands for the whole; or one file
    with all frames (enhanced CT).

    Args:
        path: file or folder.
        files: files of a DICOM CT, where they are known already, which may lie in several folders; without them, those
            next to the file, or in and below the folder, are searched.

    Returns:
        The CT in HU, its affine and the decisions. Doubts are logged under "x2ct.ct".

    Raises:
        InputError: where the file is missing, unreadable, not 3-D, not finite or not a chest CT in HU, or where slices
            are missing or their positions are not known.
    """
    file = Path(path)
    record = DecisionRecord(str(path), CT_LOG)
    if file.is_dir():
        return read_dicom_ct(file, record, files)
    kind = find_ct_kind(file)
    if kind is CTKind.DICOM:
        return read_dicom_ct(file, record, files)
    return read_nifti_ct(file, record) if kind is CTKind.NIFTI else read_itk_ct(file, kind, record)
