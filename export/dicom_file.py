"""Begin the DICOM file of an image that this project computed: its UIDs, its mark and its pixels."""

from __future__ import annotations

import hashlib
import os
import uuid
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import MANUFACTURER, MARK_KEY, MARK_TAGS, InputError

pydicom, has_pydicom = optional_import("pydicom")

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

SYNTHETIC_DATA = 0x0008001C
"""Synthetic Data (CS), a tag that old dictionaries lack."""

PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Tags of patient and study that every image holds, empty where they are not known (type 2)."""

_UID_NAMESPACE = uuid.UUID("5f1d9c1e-3c5b-4d0a-9e0e-2b1f6a7c8d42")
"""Namespace of the UIDs that are derived from content; chosen once at random."""


def new_uid() -> str:
    """Return a DICOM UID that no other image has (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def derived_uid(*content: str | bytes) -> str:
    """Return the DICOM UID of some content: the same content has the same UID, any other another (PS3.5 B.2).

    Args:
        content: what the object is, in a fixed order.

    Returns:
        A UID made of a name-based UUID (version 5).
    """
    digest = hashlib.sha256()
    for part in content:
        digest.update(hashlib.sha256(part.encode() if isinstance(part, str) else part).digest())
    return f"2.25.{uuid.uuid5(_UID_NAMESPACE, digest.hexdigest()).int}"


def check_pydicom(path: str | os.PathLike[str]) -> None:
    """Refuse to write DICOM without pydicom.

    Args:
        path: file or folder to write, named in the error.

    Raises:
        InputError: where pydicom is missing.
    """
    if not has_pydicom:
        raise InputError(f"{path}: writing DICOM needs the package pydicom; install it")


def begin_instance(class_uid: str, mark: str) -> Any:
    """Return a computed image without UID, geometry and pixels, all tags of patient and study empty.

    Synthetic Data (0008,001C) is YES; the mark is private element 01 of the block "X2CT" in group 0099.

    Args:
        class_uid: UID of its SOP class.
        mark: what `conventions.mark` returned.

    Returns:
        A pydicom FileDataset in explicit little endian and UTF-8.
    """
    meta = pydicom.dataset.FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # counted while writing
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = class_uid
    meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    # pydicom 2.4 takes the encoding from here, pydicom 3 from the transfer syntax
    dataset = pydicom.dataset.FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=False)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = class_uid
    for keyword in PATIENT_AND_STUDY:
        setattr(dataset, keyword, "")
    dataset.Manufacturer = MANUFACTURER
    dataset.BurnedInAnnotation = "NO"  # nothing in the image names the patient, which is what the tag is about
    dataset.LossyImageCompression = "00"
    dataset.add_new(SYNTHETIC_DATA, "CS", "YES")
    dataset.add_new(MARK_TAGS[0], "LO", MARK_KEY)
    dataset.add_new(MARK_TAGS[1], "UT", mark)
    return dataset


def set_instance_uid(dataset: Any, uid: str) -> None:
    """Set the SOP instance UID of an image, in its file meta too."""
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid


def set_pixels(dataset: Any, pixels: np.ndarray, bits: int) -> None:
    """Set grey pixels.

    Args:
        dataset: takes them.
        pixels: (rows, columns) whole numbers in [0, 2**bits).
        bits: bits stored, at most 16.
    """
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, bits, bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def decimals(*values: float) -> list[str]:
    """Return numbers as the decimal strings of DICOM (DS), of at most 16 characters."""
    return [f"{value:.10g}" for value in values]
