"""CT files for the tests: a chest with a closed form, sampled where each file says that its voxels lie."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from conventions import InputError
from readers import read_ct
from tests import chest_model

ROWS, COLUMNS, SLICES = 40, 55, 31
STEP = 10.0
AXIAL = np.array([[1.0, 0, 0], [0, 1, 0]])
FIRST = np.array([-215.63, -156.29, -149.84])
"""LPS of the first pixel of the lowest slice: the field is centred on the chest, and no voxel lies
on a surface."""

SPACING = np.array([8.0, 8.0])
INTERCEPT = -1024

LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])


def chest(points):
    """HU at positions (..., 3) in LPS, with marks at the patient's right, front and head, and a texture everywhere."""
    hu = chest_model.plain(points)
    for centre, half, value in (
        ((-100, 0, 110), (18, 18, 18), 700),
        ((0, -80, 60), (22, 15, 15), 500),
        ((60, 50, -120), (15, 20, 25), 300),
    ):
        hu = np.where(chest_model.ellipsoid(points, np.array(centre), half), value, hu)
    x, y, z = np.moveaxis(points, -1, 0)
    return np.rint(hu + 4 * np.sin(x / 17 + 0.3) * np.cos(y / 13) + 3 * np.sin(z / 11 + x / 40))


def at_affine(affine_ras, shape):
    """HU of the chest at the voxels of a volume (X, Y, Z)."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    ras = index @ affine_ras[:3, :3].T + affine_ras[:3, 3]
    return chest(ras * [-1, -1, 1]).astype(np.float32)


def even_positions(count=SLICES, step=STEP, first=FIRST, axes=AXIAL):
    """Positions of slices along their normal."""
    return first + np.outer(np.arange(count) * step, np.cross(*axes))


def plane(position, axes=AXIAL, shape=(ROWS, COLUMNS), spacing=SPACING):
    """HU of one slice by the equation of DICOM (PS3.3 C.7.6.2.1-1)."""
    row, column = np.mgrid[: shape[0], : shape[1]]
    return chest(
        np.asarray(position) + column[..., None] * axes[0] * spacing[1] + row[..., None] * axes[1] * spacing[0]
    )


def bare(sop_class, number, syntax):
    """A DICOM file without an image."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = f"2.25.7{number}"
    meta.TransferSyntaxUID = syntax
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    made = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=implicit, is_little_endian=little)
    made.SOPClassUID, made.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = "2.25.1", "2.25.2"
    made.Modality, made.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    return made


def fill(made, hu, bits=16, signed=False, slope=1, intercept=INTERCEPT):
    """Set the pixels of (rows, columns) or (frames, rows, columns) HU."""
    little = made.file_meta.TransferSyntaxUID != ExplicitVRBigEndian
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = hu.shape[-2:]
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, bits, bits - 1
    made.PixelRepresentation = int(signed)
    stored = np.rint((hu - intercept) / slope)
    made.PixelData = stored.astype(f"{'<' if little else '>'}{'i' if signed else 'u'}2").tobytes()
    made["PixelData"].VR = "OW"


def slice_dataset(
    position, number, *, axes=AXIAL, stated=None, syntax=ExplicitVRLittleEndian, hu=None, spacing=SPACING, **pixels
):
    """One slice at a position, which may be stated otherwise."""
    made = bare(CTImageStorage, number, syntax)
    made.InstanceNumber = number + 1
    made.ImagePositionPatient = [f"{value:.10g}" for value in (position if stated is None else stated)]
    made.ImageOrientationPatient = [f"{value:.10g}" for value in np.ravel(axes)]
    made.PixelSpacing, made.SliceThickness = list(spacing), STEP
    made.RescaleSlope, made.RescaleIntercept = pixels.get("slope", 1), pixels.get("intercept", INTERCEPT)
    fill(made, plane(position, axes, spacing=spacing) if hu is None else hu, **pixels)
    return made


def write_series(folder, positions=None, *, change=None, stated=None, names=None, uid="2.25.2", **options):
    """Write a series; `change(dataset, i)` alters each slice, or leaves it out where it returns False."""
    folder.mkdir(exist_ok=True, parents=True)
    positions = even_positions() if positions is None else positions
    count = len(positions)
    for i, position in enumerate(positions):
        made = slice_dataset(position, i, stated=None if stated is None else stated[i], **options)
        made.SeriesInstanceUID = uid
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = f"{uid}.{i}"
        if change is not None and change(made, i) is False:
            continue
        name = count - i if names is None else names[i]  # by default file names run against positions
        made.save_as(folder / f"{uid[5:]}-{name:03}.dcm")
    return folder


def write_enhanced(path, positions=None, *, axes=AXIAL, change=None, syntax=ExplicitVRLittleEndian):
    """Write one file with a frame at each position, in their order."""
    positions = even_positions() if positions is None else positions
    path.parent.mkdir(exist_ok=True)
    made = bare(EnhancedCTImageStorage, 0, syntax)
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    made.NumberOfFrames = len(positions)
    fill(made, np.stack([plane(position, axes) for position in positions]))

    def macro(**tags):
        item = Dataset()
        for keyword, value in tags.items():
            setattr(item, keyword, value)
        return [item]

    shared = Dataset()
    shared.PlaneOrientationSequence = macro(ImageOrientationPatient=list(np.ravel(axes)))
    shared.PixelMeasuresSequence = macro(PixelSpacing=list(SPACING), SliceThickness=STEP)
    shared.PixelValueTransformationSequence = macro(RescaleSlope=1, RescaleIntercept=INTERCEPT, RescaleType="HU")
    made.SharedFunctionalGroupsSequence = [shared]
    made.PerFrameFunctionalGroupsSequence = []
    for position in positions:
        group = Dataset()
        group.PlanePositionSequence = macro(ImagePositionPatient=[f"{value:.10g}" for value in position])
        made.PerFrameFunctionalGroupsSequence.append(group)
    if change is not None:
        change(made)
    made.save_as(path)
    return path


def axial_affine():
    """Affine (RAS) of the default series, by hand."""
    affine = np.diag([8.0, 8.0, STEP, 1])
    affine[:3, 3] = FIRST
    return LPS_TO_RAS @ affine


def volume():
    """The default series as (X, Y, Z) HU."""
    return at_affine(axial_affine(), (COLUMNS, ROWS, SLICES))


def write_nifti(path, hu=None, affine=None, *, sform=1, qform=1, unit="mm", dtype=np.int16):
    """Write NIfTI with its affine in both forms."""
    affine = axial_affine() if affine is None else affine
    image = nibabel.Nifti1Image((volume() if hu is None else hu).astype(dtype), affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def right(path, share=2e-4, off=1.5):
    """Read a CT and check that each voxel holds the chest at its own place, except for a share of them."""
    scan = read_ct(path)
    differs = np.abs(scan.volume_hu - at_affine(scan.affine, scan.volume_hu.shape)) > off
    assert differs.mean() <= share, differs.mean()
    assert scan.volume_hu.dtype in (np.int16, np.float32)
    assert scan.volume_hu.std() > 300
    return scan


def refused(path, words):
    """Check that a CT is refused in one sentence that begins with its path."""
    with pytest.raises(InputError, match=words) as caught:
        read_ct(path)
    text = str(caught.value)
    assert text.startswith(str(path)), text
    assert "\n" not in text
    assert "2.25." not in text.replace(str(path), ""), "a UID is shown"
    return text


def says(scan, kind, subject, words=""):
    """Check that a decision of this kind and subject holds these words."""
    texts = [d.text for d in scan.record.decisions if (d.kind, d.subject) == (kind, subject)]
    assert any(words in text for text in texts), scan.record.lines()


def silent(scan):
    """Check that nothing is doubted."""
    assert not scan.record.doubts, scan.record.lines()
