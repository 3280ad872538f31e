"""Write a predicted volume as a DICOM CT series that says that it is synthetic."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import (
    HU_AIR,
    HU_MAX,
    LPS_TO_RAS,
    MANUFACTURER,
    SYNTHETIC_STATEMENT,
    VERSION,
    InputError,
    MarkKind,
    mark,
)
from storage import write_folder_atomically

from .corner_text import burn_corner_text
from .dicom_file import begin_instance, check_pydicom, decimals, derived_uid, set_instance_uid, set_pixels
from .film_study import FilmStudy, read_film_study
from .nifti import mark_details

pydicom, _ = optional_import("pydicom")
orientations, _ = optional_import("nibabel.orientations")

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
"""SOP class UID of CT Image Storage."""

SERIES_DESCRIPTION = "SYNTHETIC CT - NOT FOR DIAGNOSTIC USE"
"""Series description; viewers cut it off, so the warning stands first."""

SERIES_NUMBER = 9001
"""Series number, behind those of any machine."""

SYNTHESIZING_EQUIPMENT = ("109100", "DCM", "Synthesizing Equipment")
SOURCE_IMAGE = ("121322", "DCM", "Source image for image processing operation")

STORED_BITS = 12
"""Bits of a stored value, which is HU - `HU_AIR`."""

WINDOWS = {"MEDIASTINUM": (40, 400), "LUNG": (-600, 1500)}
"""Name -> centre and width in HU of the windows that a viewer offers."""

MAX_LEAN = 1e-4
"""Largest cosine between two axes of a volume that is rounding."""

MAX_COMMENT = 10240
"""Characters of ImageComments (VR LT)."""

FilePath = str | os.PathLike[str]


def write_dicom_series(
    folder: FilePath,
    volume_hu: np.ndarray,
    affine: np.ndarray,
    record: Mapping[str, Any] | None = None,
    films: Sequence[FilePath] = (),
    radiographs: Sequence[Mapping[str, Any]] = (),
    corner_text: bool = False,
) -> Path:
    """Write a synthetic CT as axial slices in DICOM, marked as synthetic, in the study of its films.

    CT Image Storage, DERIVED, with UIDs, a frame of reference and a series of its own. Patient and study are those of
    the films where these are DICOM, and the CT refers to them; films that are pictures give a patient without name.
    The same volume of the same films and model has the same UIDs and the same bytes, so an archive that is sent it
    twice keeps it once; any difference gives other UIDs. Dates and times of writing are left out for that reason.

    Args:
        folder: folder to make; it must not exist, or be empty. It is there whole or not at all.
        volume_hu: (X, Y, Z) HU in the axes of the affine, in [-1024, 3071]; stored to the nearest whole HU.
        affine: (4, 4) voxel index to RAS position in mm; the axes are perpendicular.
        record: what made it, as `networks.describe_model` returns it; network, version and SHA-256 of the weights are
            written.
        films: files of the films it was predicted from.
        radiographs: view and decisions of each film; the doubts are written as comments.
        corner_text: whether to burn SYNTHETIC CT into a corner of each slice, where it replaces the HU.

    Returns:
        The folder, with one file for each slice, from the feet to the head.

    Raises:
        InputError: where the folder holds something, the volume is not one of HU, its axes lean, or the films are not
            of one patient and study.
    """
    check_pydicom(folder)
    study = read_film_study(films)
    stored, affine_lps = _slices(folder, np.asarray(volume_hu), np.asarray(affine, dtype=float))
    if corner_text:
        stored = burn_corner_text(folder, stored)
    doubts = "; ".join(doubts_of(radiographs))
    dataset = _common(dict(record or {}), affine_lps, f"Doubts about its films: {doubts}." if doubts else "")
    dataset.ImagesInAcquisition = len(stored)  # so that a series that was sent in part only is recognised
    _set_study(dataset, study)
    content = (dataset.to_json(), str(stored.shape), stored.tobytes(), affine_lps.tobytes())
    if study is None:
        dataset.StudyInstanceUID = derived_uid("study", *content)
        dataset.PatientName, dataset.PatientID = "Anonymous^Patient", f"ANON-{derived_uid(*content)[-12:]}"
    series = derived_uid("series", *content)
    dataset.SeriesInstanceUID = series
    dataset.FrameOfReferenceUID = derived_uid("frame of reference", series)

    def fill(made: Path) -> None:
        for number, pixels in enumerate(stored):
            set_instance_uid(dataset, derived_uid(series, str(number)))
            dataset.InstanceNumber = number + 1
            dataset.ImagePositionPatient = decimals(*(affine_lps @ (0, 0, number, 1))[:3] + 0.0)  # no -0
            set_pixels(dataset, pixels, STORED_BITS)
            dataset.save_as(made / f"{number + 1:04d}.dcm")

    return write_folder_atomically(folder, fill)


def _slices(folder: FilePath, volume_hu: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the stored values (slices, rows, columns) and the affine of (column, row, slice) to LPS in mm.

    Columns run to the patient's left, rows to the back and slices to the head, as nearly as the axes allow.
    """
    if volume_hu.ndim != 3 or min(volume_hu.shape) < 2:
        raise InputError(f"{folder}: a CT has three axes of several voxels, got the shape {volume_hu.shape}")
    if not np.isfinite(volume_hu).all():
        raise InputError(f"{folder}: the predicted volume is not finite, so the model is broken; train it again")
    whole = np.rint(volume_hu)
    if whole.min() < HU_AIR or whole.max() > HU_MAX:
        raise InputError(
            f"{folder}: values from {whole.min():g} to {whole.max():g} are not those of a CT in HU "
            f"({HU_AIR:g} to {HU_MAX:g}); give the predicted CT itself"
        )
    to_lps = orientations.ornt_transform(orientations.io_orientation(affine), orientations.axcodes2ornt("LPS"))
    whole = orientations.apply_orientation(whole, to_lps)
    affine = np.diag([*LPS_TO_RAS, 1.0]) @ affine @ orientations.inv_ornt_aff(to_lps, volume_hu.shape)
    steps = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if not np.abs(steps.T @ steps - np.eye(3)).max() < MAX_LEAN or np.linalg.det(steps) < 0:
        raise InputError(f"{folder}: the axes of the volume lean, which slices cannot; resample it to straight axes")
    return np.ascontiguousarray((whole - HU_AIR).astype(np.uint16).transpose(2, 1, 0)), affine


def _common(record: Mapping[str, Any], affine_lps: np.ndarray, doubts: str) -> Any:
    """Return what all slices share, besides UIDs, patient and study."""
    dataset = begin_instance(CT_IMAGE, mark(MarkKind.SYNTHETIC_CT, mark_details(record)))
    network, weights = (record.get("network") or {}).get("name"), record.get("sha256")
    made_by = f" Network {network}, SHA-256 of its weights {weights}, {MANUFACTURER} {VERSION}." if network else ""
    dataset.DerivationDescription = SYNTHETIC_STATEMENT + made_by
    comment = f"{SERIES_DESCRIPTION}. {doubts}".strip()[:MAX_COMMENT]
    dataset.ImageComments = comment.encode("ascii", "replace").decode()  # whichever character set the films have
    equipment = pydicom.Dataset()
    for item in (dataset, equipment):
        item.Manufacturer = MANUFACTURER
        item.SoftwareVersions = [VERSION, str(weights)] if weights else VERSION
        if network:
            item.ManufacturerModelName = str(network)
    equipment.ContributionDescription = dataset.DerivationDescription
    equipment.PurposeOfReferenceCodeSequence = [_code(*SYNTHESIZING_EQUIPMENT)]
    dataset.ContributingEquipmentSequence = [equipment]
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.ContentQualification = "RESEARCH"
    dataset.Modality = "CT"
    dataset.BodyPartExamined = "CHEST"
    dataset.SeriesDescription = SERIES_DESCRIPTION
    dataset.SeriesNumber = SERIES_NUMBER
    for keyword in ("PatientPosition", "PositionReferenceIndicator", "KVP", "AcquisitionNumber"):
        setattr(dataset, keyword, None)  # type 2, and nothing was acquired
    columns, rows, slices = np.linalg.norm(affine_lps[:3, :3], axis=0)
    dataset.PixelSpacing = decimals(rows, columns)
    [dataset.SliceThickness] = decimals(slices)
    dataset.ImageOrientationPatient = decimals(*(affine_lps[:3, :2] / (columns, rows)).T.ravel() + 0.0)  # no -0
    [dataset.RescaleIntercept] = decimals(HU_AIR)
    dataset.RescaleSlope, dataset.RescaleType = "1", "HU"
    dataset.WindowCenter = [centre for centre, _ in WINDOWS.values()]
    dataset.WindowWidth = [width for _, width in WINDOWS.values()]
    dataset.WindowCenterWidthExplanation = list(WINDOWS)
    return dataset


def _set_study(dataset: Any, study: FilmStudy | None) -> None:
    """Copy patient and study from the films, and refer to them."""
    if study is None:
        return
    if study.lossy is not None:
        dataset.LossyImageCompression = "01"
    for keyword, value in {**study.shared, **(study.lossy or {})}.items():
        tag = pydicom.datadict.tag_for_keyword(keyword)
        # as the films state it, be it valid or not: a corrected value would be another patient or study
        dataset[tag] = pydicom.DataElement(
            tag, pydicom.datadict.dictionary_VR(tag), value, validation_mode=pydicom.config.IGNORE
        )
    dataset.SourceImageSequence = [_source(*film[:2]) for film in study.films]
    references = []
    for series in dict.fromkeys(film[2] for film in study.films):
        reference = pydicom.Dataset()
        reference.SeriesInstanceUID = series
        reference.ReferencedInstanceSequence = [_reference(*film[:2]) for film in study.films if film[2] == series]
        references.append(reference)
    dataset.ReferencedSeriesSequence = references


def _reference(class_uid: str, instance_uid: str) -> Any:
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
    return item


def _source(class_uid: str, instance_uid: str) -> Any:
    item = _reference(class_uid, instance_uid)
    item.PurposeOfReferenceCodeSequence = [_code(*SOURCE_IMAGE)]
    item.SpatialLocationsPreserved = "NO"
    return item


def _code(value: str, scheme: str, meaning: str) -> Any:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def doubts_of(radiographs: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is doubted about the films of a CT, one sentence each.

    Args:
        radiographs: view and decisions of each film, as in the sidecar of `write_nifti`.
    """
    return [
        f"{film['view']}: {decision['subject']}: {decision['text']}"
        for film in radiographs
        for decision in film["decisions"]
        if decision["kind"] == "doubt"
    ]
