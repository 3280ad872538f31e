"""Write DRRs as PNG, NIfTI and DICOM, each marked as computed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import DRR_NOTE, DRR_STATEMENT, MARK_KEY, InputError, MarkKind, mark
from storage import set_aside, write_atomically

from .dicom_file import begin_instance, check_pydicom, decimals, new_uid, set_instance_uid, set_pixels
from .marked_nifti import write_marked_nifti

Image, _ = optional_import("PIL.Image")
PngInfo, _ = optional_import("PIL.PngImagePlugin", name="PngInfo")

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

FilePath = str | os.PathLike[str]


def _check_image(path: FilePath, image: np.ndarray) -> None:
    if image.ndim != 2 or not np.isfinite(image).all():
        raise InputError(f"{path}: a radiograph has rows and columns of finite values, got the shape {image.shape}")


def _sixteen_bit(path: FilePath, image: np.ndarray) -> np.ndarray:
    _check_image(path, image)
    return np.rint(image.clip(0, 1) * 65535).astype(np.uint16)


def write_png16(
    path: FilePath, image: np.ndarray, record: Mapping[str, Any] | None = None, computed: bool = True
) -> Path:
    """Write a radiograph as a grey 16-bit PNG, a DRR with its mark in a text chunk.

    Args:
        path: file to write; a file of an earlier run is renamed, not overwritten.
        image: (rows, columns) in [0, 1], bright = dense; 1 becomes 65535.
        record: what made it; geometry, curve, film_style and view go into the mark.
        computed: whether it is a DRR; a film gets no mark.

    Returns:
        The file written.

    Raises:
        InputError: where pixels are not finite.
    """
    picture = Image.fromarray(_sixteen_bit(path, image))
    chunk = PngInfo()
    if computed:
        chunk.add_text(MARK_KEY, mark(MarkKind.COMPUTED_RADIOGRAPH, record))
    set_aside(path)
    return write_atomically(path, lambda part: picture.save(part, format="PNG", pnginfo=chunk))


def write_radiograph_nifti(
    path: FilePath, image: np.ndarray, affine: np.ndarray, record: Mapping[str, Any] | None = None
) -> Path:
    """Write a DRR as NIfTI at the position of the detector, with a JSON sidecar.

    Args:
        path: file to write, ending in .nii or .nii.gz; a file of an earlier run is renamed, not overwritten.
        image: (rows, columns) in [0, 1], bright = dense.
        affine: (4, 4) index (column, row, 0) to RAS position in mm.
        record: what made it, copied into the sidecar; geometry, curve, film_style and the view, under `name`, go into
            the mark.

    Returns:
        The NIfTI file written, float32 (columns, rows, 1); the sidecar has the same name with .json.

    Raises:
        InputError: where pixels are not finite.
    """
    _check_image(path, image)
    details = dict(record or {})
    statement = {"computed_from_ct": True, "statement": DRR_STATEMENT, "unit": "film value, 0 to 1, bright = dense"}
    text = mark(MarkKind.COMPUTED_RADIOGRAPH, {**details, "view": details.get("name")})
    pixels = image.T[..., None].astype(np.float32)
    return write_marked_nifti(path, pixels, affine, DRR_NOTE, text, {**statement, **details})


def write_dicom_radiograph(
    path: FilePath,
    image: np.ndarray,
    *,
    pixel_spacing: Sequence[float],
    orientation: Sequence[str] = (),
    view_position: str = "",
    sdd: float | None = None,
    source_to_patient: float | None = None,
    description: str = "",
    derivation: str = DRR_STATEMENT,
    study_uid: str | None = None,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Write a DRR as a DICOM Secondary Capture without a patient.

    The modality is OT, not DX: an image that no X-ray machine took must not pass for an examination in a worklist or a
    hanging protocol. The tags of the geometry are those of a radiograph. The mark is private element 01 of the block
    "X2CT" in group 0099; Synthetic Data (0008,001C) is YES.

    Args:
        path: file to write; a file of an earlier run is renamed, not overwritten.
        image: (rows, columns) in [0, 1], bright = dense; 1 becomes 65535.
        pixel_spacing: distance between rows and between columns at the detector in mm.
        orientation: letters at the right and at the bottom of the image, ("L", "F") for a PA.
        view_position: PA, AP, LL or RL; empty for another direction.
        sdd: source-detector distance in mm.
        source_to_patient: distance from the source to the surface that the patient leans on, in mm.
        description: description of the series.
        derivation: how the image was made, for people.
        study_uid: UID of the study that the image joins; a new study by default.
        record: what made it; geometry, curve, film_style and view go into the mark.

    Returns:
        The file written.

    Raises:
        InputError: where pixels are not finite, or pydicom is missing.
    """
    check_pydicom(path)
    pixels = _sixteen_bit(path, image)
    dataset = begin_instance(SECONDARY_CAPTURE, mark(MarkKind.COMPUTED_RADIOGRAPH, record))
    set_instance_uid(dataset, new_uid())
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study_uid or new_uid(), new_uid()
    now = datetime.now()
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.SeriesNumber, dataset.InstanceNumber = "1", "1"
    dataset.Modality = "OT"
    dataset.ConversionType = "SYN"  # synthetic image
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SeriesDescription = description
    dataset.DerivationDescription = derivation
    dataset.PatientOrientation = list(orientation)
    if view_position:
        dataset.ViewPosition = view_position
    dataset.ImagerPixelSpacing = decimals(*pixel_spacing)
    if sdd is not None:
        [dataset.DistanceSourceToDetector] = decimals(sdd)
    if source_to_patient is not None:
        [dataset.DistanceSourceToPatient] = decimals(source_to_patient)
    set_pixels(dataset, pixels, bits=16)
    dataset.WindowCenter, dataset.WindowWidth = "32768", "65536"  # the whole range
    dataset.PresentationLUTShape = "IDENTITY"
    set_aside(path)
    return write_atomically(path, dataset.save_as)
