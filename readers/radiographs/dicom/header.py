"""Read the technical tags of a DICOM radiograph without trusting them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import MARK_TAGS

from ...record import DecisionRecord

Sequence, _ = optional_import("pydicom.sequence", name="Sequence")

PEOPLE = ("PatientID", "PatientName", "StudyDate", "AcquisitionDate", "ContentDate")
"""Tags that are read to compare two films, and dropped as soon as they are hashed."""

SYNTHETIC_DATA = 0x0008001C
"""Synthetic Data, a tag that old dictionaries lack."""

MANUFACTURER_TAG = 0x00080070
"""Manufacturer."""

MARKS = (MANUFACTURER_TAG, *MARK_TAGS)
"""Tags that are read to recognise DRRs, and dropped."""

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
"""Tags that are kept; all others are skipped while the file is parsed."""

OVERLAY_BITS = tuple(range(0x60000102, 0x60200000, 0x20000))
"""Overlay Bit Position (60xx,0102)."""

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

_SALT = secrets.token_bytes(16)


class Header:
    """Technical tags of one DICOM file, read without trusting them.

    Args:
        dataset: a pydicom Dataset.
        record: takes the doubts about values that cannot be used.
    """

    def __init__(self, dataset: Any, record: DecisionRecord) -> None:
        self.dataset = dataset
        self.record = record

    def text(self, keyword: str) -> str:
        """Return a value as upper-case text, empty where it is missing or unreadable."""
        return "\\".join(self.words(keyword))

    def words(self, keyword: str) -> list[str]:
        """Return the values of a multi-valued tag as upper-case text."""
        value = self._value(keyword)
        several = [] if value is None else [value] if isinstance(value, (str, bytes)) else value
        try:
            return [str(item).strip().upper() for item in several]
        except TypeError:
            return [str(value).strip().upper()]

    def places(self, keyword: str) -> list[float | None]:
        """Return the values of a tag as finite numbers, None in an empty place.

        If one of them is not a number, none is returned, and it is doubted.
        """
        try:
            numbers = [float(word) if word else None for word in self.words(keyword)]
        except ValueError:
            numbers = [float("nan")]
        if not all(number is None or np.isfinite(number) for number in numbers):
            self.record.doubt("tags", f"{keyword} does not hold numbers and is ignored")
            return []
        return numbers

    def numbers(self, keyword: str) -> list[float]:
        """Return the values of a tag as finite numbers; none, with a doubt, if one of them is not a number."""
        return [number for number in self.places(keyword) if number is not None]

    def number(self, keyword: str) -> float | None:
        """Return the first value of a tag as a number, None where there is none."""
        numbers = self.numbers(keyword)
        return numbers[0] if numbers else None

    def element_text(self, tag: int) -> str:
        """Return an element as text, from its bytes if the VR is not known; empty if it cannot be read."""
        try:
            value = self.dataset[tag].value
        except Exception:  # pydicom raises whatever a value of the wrong kind happens to cause
            return ""
        return (value.decode("ascii", errors="replace") if isinstance(value, bytes) else str(value)).strip("\0 ")

    def items(self, keyword: str) -> list[Any]:
        """Return the items of a sequence."""
        value = self._value(keyword)
        return list(value) if isinstance(value, Sequence) else []

    def _value(self, keyword: str) -> Any:
        try:
            return self.dataset.get(keyword)
        except Exception:  # pydicom raises whatever a value of the wrong kind happens to cause
            self.record.doubt("tags", f"{keyword} cannot be read and is ignored")
            return None


def take_keys(header: Header) -> tuple[str | None, str | None]:
    """Hash patient and date with a salt of this run, and drop the values themselves.

    Returns:
        Hash of the patient and hash of the study's date, each None where the file does not state it.
    """

    def first(*keywords: str) -> str | None:
        values = (str(header.dataset.get(keyword) or "").strip() for keyword in keywords)
        stated = next((value for value in values if value), None)
        return stated and hmac.new(_SALT, stated.encode(), hashlib.sha256).hexdigest()

    keys = first(*PEOPLE[:2]), first(*PEOPLE[2:])
    for tag in (*PEOPLE, *MARKS):
        if tag in header.dataset:
            del header.dataset[tag]
    return keys
