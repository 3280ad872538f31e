"""Find pixel spacing and magnification of a DICOM radiograph (PS3.3 10.7.1.3, C.8.11.4, C.8.7.10)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from conventions import InputError, View
from drr import SourceDistances, source_distances

from .header import Header

FIELD_MM = (30.0, 600.0)
"""Smallest and largest side of the part of the detector that an image shows."""

CHEST_MM = 200.0
"""Smallest field that holds an adult's chest; files that were shrunk often keep the spacing of the original."""

MAX_RATIO = 3.0
"""Largest ratio of row spacing and column spacing, either way, at which a tag is believed."""

MAX_MAGNIFICATION = 2.0
"""Largest magnification of a chest film, whose source stands far from the patient."""

_POSE = {View.PA: "pa", View.LATERAL: "left"}
"""Pose whose half thickness is that of a view; it is the same for AP and for a right lateral."""


@dataclass(frozen=True)
class PixelSize:
    """Size of a pixel at the detector.

    Args:
        spacing: mm between rows and between columns; None where unknown.
        aspect: row spacing divided by column spacing.
    """

    spacing: tuple[float, float] | None
    aspect: float


def pixel_size(header: Header, shape: tuple[int, ...], magnification: float | None) -> PixelSize:
    """Find the spacing at the detector.

    ImagerPixelSpacing (0018,1164) is taken first, then NominalScannedPixelSpacing (0018,2010), then PixelSpacing
    (0028,0030); PixelSpacingCalibrationType (0028,0A02) says whether that is a spacing in the patient instead.

    Args:
        header: tags of the film.
        shape: (rows, columns).
        magnification: magnification from the patient to the detector, for a PixelSpacing in the patient.

    Returns:
        The size of a pixel; its aspect alone, from PixelAspectRatio (0028,0034), where no spacing can be used.
    """
    record = header.record
    chosen: tuple[float, float] | None = None
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelSpacing"):
        spacing = _spacing(header, keyword, shape, chosen is None)
        if spacing is None:
            continue
        if chosen is not None:
            if keyword == "PixelSpacing" and not math.isclose(spacing[0], chosen[0], rel_tol=1e-3):
                record.found("spacing", f"PixelSpacing is {spacing[0]:g} mm instead, not at the detector; not used")
            continue
        chosen = _at_detector(header, spacing, magnification) if keyword == "PixelSpacing" else spacing
        if keyword != "PixelSpacing":
            record.found("spacing", f"{spacing[0]:g} x {spacing[1]:g} mm at the detector, by {keyword}")
    if chosen is not None:
        field = [number * size for number, size in zip(chosen, shape, strict=True)]
        if max(field) < CHEST_MM:
            record.doubt("spacing", f"it gives a field of {field[0]:.0f} x {field[1]:.0f} mm, little for a chest")
        return PixelSize(chosen, chosen[0] / chosen[1])
    record.assumed("spacing", "unknown: no tag states it")
    ratio = header.numbers("PixelAspectRatio")
    if len(ratio) == 2 and min(ratio) > 0 and 1 / MAX_RATIO <= ratio[0] / ratio[1] <= MAX_RATIO:
        return PixelSize(None, ratio[0] / ratio[1])
    return PixelSize(None, 1.0)


def _spacing(header: Header, keyword: str, shape: tuple[int, ...], wanted: bool) -> tuple[float, float] | None:
    """Return both numbers of a tag if they can be those of a detector."""
    if not header.words(keyword):
        return None
    numbers = header.numbers(keyword)
    if not numbers:
        return None
    problem = ""
    if len(numbers) != 2:
        problem = f"holds {len(numbers)} number instead of two"
    elif min(numbers) <= 0:
        problem = "is not positive"
    elif not 1 / MAX_RATIO <= numbers[0] / numbers[1] <= MAX_RATIO:
        problem = f"is {numbers[0]:g} x {numbers[1]:g} mm, far from square"
    else:
        field = [number * size for number, size in zip(numbers, shape, strict=True)]
        if not all(FIELD_MM[0] <= side <= FIELD_MM[1] for side in field):
            given, expected = (f"{a:.3g} {word} {b:.3g} mm" for (a, b), word in ((field, "x"), (FIELD_MM, "to")))
            problem = f"gives a field of {given}, where {expected} a side is expected"
    if problem:
        if wanted:
            header.record.doubt("spacing", f"{keyword} {problem}; it is treated as unknown")
        return None
    return numbers[0], numbers[1]


def _at_detector(header: Header, spacing: tuple[float, float], magnification: float | None) -> tuple[float, float]:
    """Return PixelSpacing, brought to the detector where it is calibrated to something in the patient."""
    record, said = header.record, f"{spacing[0]:g} x {spacing[1]:g} mm by PixelSpacing"
    calibration = header.text("PixelSpacingCalibrationType")
    if calibration not in ("GEOMETRY", "FIDUCIAL"):
        record.assumed("spacing", f"{said}, taken as that at the detector, since no calibration is stated")
        return spacing
    if magnification is None:
        record.doubt("spacing", f"{said} is calibrated ({calibration}) in the patient and the magnification is unknown")
        return spacing
    record.changed("spacing", f"{said}, calibrated ({calibration}), times the magnification: that at the detector")
    return spacing[0] * magnification, spacing[1] * magnification


def find_magnification(header: Header, view: View) -> float | None:
    """Find the magnification from the patient's mid-plane to the detector.

    Args:
        header: tags of the film.
        view: view of the film, which decides how thick half a chest is.

    Returns:
        EstimatedRadiographicMagnificationFactor (0018,1114), else what `drr.source_distances` makes of
        DistanceSourceToDetector (0018,1110) and DistanceSourceToPatient (0018,1111); None where neither is stated or
        makes sense.
    """
    record = header.record
    factor, how = header.number("EstimatedRadiographicMagnificationFactor"), "as stated"
    if factor is None:
        distances = _distances(header, view)
        if distances is None:
            return None
        factor = distances.magnification
        how = f"source to detector {distances.sdd:g} mm, source to the patient's mid-plane {distances.sod:g} mm"
        for assumption in distances.assumed:
            record.assumed("magnification", assumption)
    if not 1 <= factor <= MAX_MAGNIFICATION:
        record.doubt("magnification", f"{factor:g} is impossible for a chest film; it is treated as unknown")
        return None
    record.found("magnification", f"{factor:.3f}, {how}")
    return factor


def _distances(header: Header, view: View) -> SourceDistances | None:
    """Return the distances from the source, None if one is not stated or they contradict each other."""
    keywords = ("DistanceSourceToDetector", "DistanceSourceToPatient")
    tags = {keyword: header.number(keyword) for keyword in keywords}
    if not all(tags.values()):
        return None
    try:
        return source_distances(tags, _POSE[view])
    except InputError as error:
        header.record.doubt("magnification", f"{error}; it is treated as unknown")
        return None
