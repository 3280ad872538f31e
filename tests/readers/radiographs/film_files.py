"""Radiograph files for the tests: a crude thorax of realistic size, written by pydicom and GDCM, not by our code."""

from __future__ import annotations

import struct
import zlib

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.nifti1 import Nifti1Extension
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from conventions import MARK_NIFTI_CODE, InputError, MarkKind, mark
from transforms import ReadRadiograph

DX = "1.2.840.10008.5.1.4.1.1.1.1"
DX_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
SHAPE = (1200, 1000)

IDENTIFYING = {
    "PatientName": "Quetzal^Xanthippe^Zebulon",
    "PatientID": "MRN-48151623",
    "PatientBirthDate": "19520411",
    "StudyDate": "20190817",
    "AcquisitionDate": "20190818",
    "AccessionNumber": "ACC424242",
    "ReferringPhysicianName": "House^Gregory",
    "InstitutionName": "Saint Elsewhere",
    "StudyInstanceUID": "1.3.6.1.4.1.99999.314159.1",
    "SeriesInstanceUID": "1.3.6.1.4.1.99999.314159.2",
    "StudyDescription": "Thorax of Xanthippe Zebulon",
    "SeriesDescription": "Xanthippe upright",
    "DeviceSerialNumber": "SN-777",
}
"""Tags of a filled header, none of which may appear in any output."""


def thorax(shape=SHAPE, view="pa"):
    """(rows, columns) float64 density in [0, 1]: a body in air with lungs, spine, heart and a mark at one corner."""
    rows, columns = shape
    y, x = np.mgrid[0:rows, 0:columns]
    y, x = y / rows - 0.5, x / columns - 0.5

    def inside(cy, cx, ry, rx):
        beyond = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 - 1
        return 1 / (1 + np.exp((12 * beyond).clip(-500, 500)))

    density = 0.55 * inside(0.15, 0, 0.62, 0.42)
    if view == "pa":
        density -= 0.35 * inside(-0.03, -0.2, 0.3, 0.15) + 0.33 * inside(-0.03, 0.2, 0.3, 0.14)
        density += 0.25 * inside(0, 0, 0.6, 0.04) + 0.2 * inside(0.13, 0.08, 0.14, 0.13)
    else:
        density -= 0.35 * inside(-0.03, 0, 0.3, 0.22)
        density += 0.25 * inside(0, 0.25, 0.6, 0.05) + 0.2 * inside(0.12, -0.1, 0.14, 0.12)
    density += 0.12 * (y + 0.5) + 0.02 * np.sin(40 * x) * np.cos(31 * y)
    density[rows // 40 : rows // 16, columns // 30 : columns // 11] += 0.3
    return (density - density.min()) / (density.max() - density.min())


def stored(density, bits=12, low=0.02, high=0.9):
    """Density as unsigned integers of that many bits, between two parts of the range."""
    return np.rint((low + (high - low) * density) * (2**bits - 1)).astype(np.uint16)


def unit(values):
    """Values between their 0.5 and 99.5 percentiles, as [0, 1]."""
    low, high = np.percentile(values, (0.5, 99.5))
    return ((values - low) / (high - low)).clip(0, 1)


def dataset(pixels, bits=12, syntax=ExplicitVRLittleEndian, **tags):
    """A DX image FOR PRESENTATION of (rows, columns) integers; a tag that is None is left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = tags.get("SOPClassUID", DX)
    meta.MediaStorageSOPInstanceUID = "2.25.42"
    meta.TransferSyntaxUID = syntax
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    made = FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=implicit, is_little_endian=little)
    allocated = 8 if bits <= 8 else 16
    filled = {
        "SOPClassUID": DX,
        "SOPInstanceUID": "2.25.42",
        "Modality": "DX",
        "PresentationIntentType": "FOR PRESENTATION",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "ImagerPixelSpacing": [0.35, 0.35],
        **tags,
    }
    for keyword, value in filled.items():
        if value is not None:
            setattr(made, keyword, value)
    kind = f"{'<' if little else '>'}{'i' if filled['PixelRepresentation'] else 'u'}{allocated // 8}"
    made.PixelData = pixels.astype(kind).tobytes()
    made["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return made


def write(path, pixels, bits=12, syntax=ExplicitVRLittleEndian, **tags):
    """Write `dataset` and return its path."""
    dataset(pixels, bits, syntax, **tags).save_as(path)
    return path


def compress(path, name):
    """Rewrite a file in another transfer syntax by GDCM, named as its enumeration does."""
    gdcm = pytest.importorskip("gdcm", reason="python-gdcm, which compresses films here, is not installed")
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


def lut_item(entries, bits, first=0, count=None):
    """An item of a look-up table sequence."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [count if count is not None else len(entries) % 65536, first, bits])
    item.add_new("LUTData", "OW", np.asarray(entries, "<u2").tobytes())
    return item


def says(image, kind, subject, words=""):
    """Return whether the record of what was read holds such a decision."""
    decisions = image.meta["record"].decisions
    return any(d.kind == kind and d.subject == subject and words in d.text for d in decisions)


def picture(path, pixels, mode=None, **options):
    """Write pixels with Pillow, in another mode where one is given, and return the path."""
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def png_chunk(name, data):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_sixteen_bits(path, planes, extra=b""):
    """Write (rows, columns, channels) uint16 as PNG, which Pillow cannot do for several channels."""
    rows, columns, channels = planes.shape
    header = struct.pack(">IIBBBBB", columns, rows, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in planes.astype(">u2"))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(lines))
        + png_chunk(b"IEND", b"")
    )
    return path


def planes_in_nifti(path, planes, geometry=None):
    """Write planes (rows, columns, views) as one NIfTI file, with the mark of DRRs where a geometry is given."""
    image = nibabel.Nifti1Image(planes.astype(np.float32), np.eye(4))
    if geometry:
        text = mark(MarkKind.COMPUTED_RADIOGRAPH, {"geometry": geometry})
        image.header.extensions.append(Nifti1Extension(MARK_NIFTI_CODE, text.encode()))
    nibabel.save(image, path)
    return path


def read(path, view="pa", **options):
    """Read a file with `ReadRadiograph`."""
    return ReadRadiograph(view, **options)(path)


def refusal(path, **options):
    """Return the one sentence, with the path in it, by which a file is refused."""
    with pytest.raises(InputError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def same(image, expected, atol=1e-5):
    """Check that what was read has the shape and the values expected."""
    assert image.shape[1:] == expected.shape
    np.testing.assert_allclose(image.numpy()[0], expected, atol=atol)
