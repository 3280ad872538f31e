"""The tags of a DICOM radiograph that are read, and a way to read them without trust."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

import numpy as np
from monai.utils import optional_import

from .record import DecisionRecord

Sequence, _ = optional_import("pydicom.sequence", name="Sequence")

PEOPLE = ("PatientID", "PatientName", "StudyDate", "AcquisitionDate", "ContentDate")
"""Read to compare two films, and dropped as soon as they are hashed."""

OURS = ("Manufacturer", "DerivationDescription")
"""Read to recognise our own computed radiographs, and dropped."""

SYNTHETIC_DATA = 0x0008001C
"""Synthetic Data, a tag that old dictionaries lack."""

TECHNICAL = (
    *("SOPClassUID", "Modality", "PresentationIntentType", "BurnedInAnnotation"),
    *("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "PixelAspectRatio"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "PixelIntensityRelationship", "PixelIntensityRelationshipSign"),
    *("RescaleIntercept", "RescaleSlope", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence", "PresentationLUTShape"),
    *("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelSpacing", "PixelSpacingCalibrationType"),
    *("EstimatedRadiographicMagnificationFactor", "DistanceSourceToDetector", "DistanceSourceToPatient"),
    *("ViewPosition", "ViewCodeSequence", "PatientOrientation", "FieldOfViewRotation", "FieldOfViewHorizontalFlip"),
    *("ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge"),
    *("ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter"),
    "VerticesOfThePolygonalShutter",
    *("CollimatorShape", "CollimatorLeftVerticalEdge", "CollimatorRightVerticalEdge", "CollimatorUpperHorizontalEdge"),
    *("CollimatorLowerHorizontalEdge", "CenterOfCircularCollimator", "RadiusOfCircularCollimator"),
    "VerticesOfThePolygonalCollimator",
)
"""Every other tag is passed over while the file is parsed."""

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

_SALT = secrets.token_bytes(16)


class Header:
    """The technical tags of one DICOM file, read without trust.

    Args:
        dataset: a pydicom Dataset.
        record: told of values that cannot be used.
    """

    def __init__(self, dataset: Any, record: DecisionRecord) -> None:
        self.dataset = dataset
        self.record = record

    def text(self, keyword: str) -> str:
        """A value as upper-case text; empty where it is missing or unreadable."""
        return "\\".join(self.words(keyword))

    def words(self, keyword: str) -> list[str]:
        """The values of a multi-valued tag as upper-case text."""
        value = self._value(keyword)
        several = [] if value is None else [value] if isinstance(value, (str, bytes)) else value
        try:
            return [str(item).strip().upper() for item in several]
        except TypeError:
            return [str(value).strip().upper()]

    def numbers(self, keyword: str) -> list[float]:
        """The values of a tag as finite numbers; none, and a doubt, where one of them is no number."""
        words = [word for word in self.words(keyword) if word]
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = [float("nan")]
        if not np.isfinite(numbers).all():
            self.record.doubt("tags", f"{keyword} does not hold numbers and is passed over")
            return []
        return numbers

    def number(self, keyword: str) -> float | None:
        """The first value of a tag as a number; None where there is none."""
        numbers = self.numbers(keyword)
        return numbers[0] if numbers else None

    def items(self, keyword: str) -> list[Any]:
        """The items of a sequence."""
        value = self._value(keyword)
        return list(value) if isinstance(value, Sequence) else []

    def _value(self, keyword: str) -> Any:
        try:
            return self.dataset.get(keyword)
        except Exception:  # pydicom raises whatever a value of the wrong kind happens to cause
            self.record.doubt("tags", f"{keyword} cannot be read and is passed over")
            return None


def take_keys(header: Header) -> tuple[str | None, str | None]:
    """Salted hashes of patient and date, which only two films of this run share; the values themselves are dropped.

    Returns:
        (of the patient, of the study's date), each None where the file does not state it.
    """

    def first(*keywords: str) -> str | None:
        values = (str(header.dataset.get(keyword) or "").strip() for keyword in keywords)
        stated = next((value for value in values if value), None)
        return stated and hmac.new(_SALT, stated.encode(), hashlib.sha256).hexdigest()

    keys = first(*PEOPLE[:2]), first(*PEOPLE[2:])
    for keyword in (*PEOPLE, *OURS):
        if keyword in header.dataset:
            delattr(header.dataset, keyword)
    return keys
