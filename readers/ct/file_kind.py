"""Find the format of a CT file from its content."""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from pathlib import Path

from conventions import InputError

from ..radiographs.file_kind import FileKind, content_kind, describe_content

ADVICE = "give NIfTI, MHA, MHD, NRRD, or DICOM"


class CTKind(StrEnum):
    """Formats that a CT is read from."""

    NIFTI = "NIfTI"
    DICOM = "DICOM"
    NRRD = "NRRD"
    META_IMAGE = "MetaImage"


_FILM_KINDS = {
    FileKind.NIFTI: CTKind.NIFTI,
    FileKind.DICOM: CTKind.DICOM,
    FileKind.DICOM_WITHOUT_PREAMBLE: CTKind.DICOM,
}


def find_ct_kind(file: Path) -> CTKind:
    """Find the format of a CT from the first bytes of its file, whatever its name.

    Args:
        file: a regular file, or a link to one.

    Returns:
        The format.

    Raises:
        InputError: where there is no such file, it is a pipe, empty, not readable, or of another format.
    """
    try:
        status = os.stat(file)  # before opening, which would wait for a pipe
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{file}: is a pipe or a device, not a regular file; copy the CT to a file")
        with file.open("rb") as stream:
            head = stream.read(1024)
    except FileNotFoundError as error:
        raise InputError(f"{file}: there is no such file or folder; give a CT") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no usable path"
        raise InputError(f"{file}: cannot be opened ({reason}); make it readable or copy it") from error
    if not head:
        raise InputError(f"{file}: is an empty file; export the CT again")
    if head.startswith(b"NRRD000"):
        return CTKind.NRRD
    if head.lstrip().startswith((b"ObjectType", b"NDims")):
        return CTKind.META_IMAGE
    kind = content_kind(head)
    if kind not in _FILM_KINDS:
        found = f"a {kind} file" if kind is not None else describe_content(head)
        raise InputError(f"{file}: is {found}, which is not read as a CT; {ADVICE}")
    return _FILM_KINDS[kind]
