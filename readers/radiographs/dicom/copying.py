"""Copy a DICOM film without anything that names a person, so that it is read as the same film."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import InputError
from storage import digest_of, write_atomically

from ...record import DecisionRecord
from ..film import Film
from .checks import GREY, UNSAID, XRAY, checked_header
from .header import TECHNICAL, Header, take_keys
from .lookup import FUNCTIONS
from .orientation import OPPOSITE
from .pixels import SECONDARY_CAPTURE, stored_values
from .reading import read_dicom
from .view import CODES, POSITIONS, view_position

pydicom, _ = optional_import("pydicom")
datadict, _ = optional_import("pydicom.datadict")
UID, _ = optional_import("pydicom.uid", name="UID")

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

WORDS = frozenset(
    {
        *(*XRAY, *UNSAID, *GREY, *FUNCTIONS, *CODES, "YES", "NO"),
        *("FOR PRESENTATION", "FOR PROCESSING", "LIN", "LOG", "DISP", "IDENTITY", "INVERSE"),
        *("GEOMETRY", "FIDUCIAL", "RECTANGULAR", "CIRCULAR", "POLYGONAL"),
    }
)
"""Words that the readers understand; a copy has no others, since a tag may hold a name where a code belongs."""

NUMBERS = ("US", "SS", "UL", "SL", "FL", "FD", "OW", "OB")
"""Value representations of binary numbers."""

NUMBER_TEXTS = ("DS", "IS")
"""Value representations of numbers in text."""

IN_ITEMS = ("LUTDescriptor", "LUTData", "CodeValue")
"""Tags that are kept in the items of sequences."""


def copy_film(file: Path, film: Film, output: Path) -> None:
    """Write the stored pixels of a film and its technical tags, numbers and known words alone, as a DICOM file.

    Pixels are decoded and stay as they are, also where text is burned into them. The copy is read again and compared.

    Args:
        file: a DICOM file, with preamble or without.
        film: what `read_films` made of it.
        output: file to write; an existing one is replaced. The same film gives the same bytes.

    Raises:
        InputError: where the file cannot be read, or its copy cannot be written or is not read as the same film.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings repeat the values of tags
        header = checked_header(file, DecisionRecord(str(file), log=None), without_preamble=True)
        take_keys(header)
        stored = stored_values(file, header)
        copy = _instance(header, stored, f"2.25.{int(digest_of(file)[:30], 16)}")
        write_atomically(output, lambda part: _write(copy, part, file, film))


def _write(copy: Any, part: Path, file: Path, film: Film) -> None:
    """Write a copy, unless it is not read as the same film."""
    try:
        copy.save_as(part)
    except (ValueError, TypeError, OverflowError, AttributeError) as error:  # of tags that break their own rules
        raise InputError(f"{file}: its tags cannot be written again; export the film again") from error
    if not _same(film, read_dicom(part, film.view, DecisionRecord(str(file), log=None))):
        raise InputError(f"{file}: is not the same film without the tags that may name the patient; export it again")


def _instance(header: Header, stored: np.ndarray, uid: str) -> Any:
    """Return an uncompressed instance of the pixels and the technical tags."""
    kind = UID(str(header.dataset.get("SOPClassUID") or SECONDARY_CAPTURE))
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind if kind.name != kind else SECONDARY_CAPTURE  # a known class
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = EXPLICIT_LITTLE_ENDIAN
    meta.ImplementationClassUID = pydicom.uid.PYDICOM_IMPLEMENTATION_UID
    made = pydicom.dataset.FileDataset("", {}, preamble=b"\0" * 128, file_meta=meta, is_implicit_VR=False)
    for element in _technical(header, TECHNICAL):
        made.add(element)
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, uid
    made.PatientName = made.PatientID = ""
    made.PatientIdentityRemoved, made.DeidentificationMethod = "YES", "pixels and technical tags alone are kept"
    bits, signed = int(header.number("BitsStored") or 16), header.number("PixelRepresentation") == 1
    made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.BitsAllocated = 1, 16 if bits <= 16 else 32
    made.BitsStored, made.HighBit, made.PixelRepresentation = bits, bits - 1, int(signed)
    made.PixelData = stored.astype(f"<{'i' if signed else 'u'}{made.BitsAllocated // 8}").tobytes()
    made["PixelData"].VR = "OW"
    return made


def _technical(header: Header, keywords: tuple[str, ...]) -> list[Any]:
    """Return the elements that hold numbers, or words that the readers understand."""
    kept = []
    for keyword in keywords:
        if keyword not in header.dataset:
            continue
        vr = datadict.dictionary_VR(keyword)
        value: Any = None
        if vr == "SQ":
            value = [_item(Header(item, header.record)) for item in header.items(keyword)]
        elif vr in NUMBER_TEXTS:
            value = header.words(keyword) if header.places(keyword) else None
        elif vr.split(" ")[0] in NUMBERS:
            vr = header.dataset[keyword].VR
            value = header.dataset[keyword].value if vr in NUMBERS else None
        elif keyword == "ViewPosition":
            value = position if (position := view_position(header)) in POSITIONS else None
        elif keyword == "PatientOrientation":
            words = [word[:3] for word in header.words(keyword)]  # a direction has three letters at most
            value = words if all(set(word) <= OPPOSITE.keys() for word in words) else None
        else:
            words = header.words(keyword)
            value = words if WORDS.issuperset(words) else None
        if value is not None and value != []:
            kept.append(pydicom.DataElement(pydicom.tag.Tag(keyword), vr, value))
    return kept


def _item(header: Header) -> Any:
    """Return what is kept of the item of a sequence."""
    item = pydicom.Dataset()
    for element in _technical(header, IN_ITEMS):
        item.add(element)
    return item


def _same(one: Film, other: Film) -> bool:
    """Return whether two films have the same pixels and geometry."""
    facts, theirs = ((film.spacing, film.magnification, film.tagged, film.computed) for film in (one, other))
    valid, there = (np.ones(film.pixels.shape) if film.valid is None else film.valid for film in (one, other))
    return facts == theirs and np.array_equal(one.pixels, other.pixels) and np.array_equal(valid, there)
