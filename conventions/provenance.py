"""Mark a file whose image no machine acquired, and read the mark back.

Every image that this project computes carries a mark: a short JSON text that says what the image is, what it was made
of, and by which software and model. It lies in a text chunk of a PNG, in a header extension of a NIfTI and in a private
element of a DICOM file. Readers tell a computed image by its mark alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

SOFTWARE = "x2ct-bundle"
"""Name of this software in a mark."""

VERSION = "0.1.0"
"""Version of this software in a mark, the one in pyproject.toml."""

DRR_STATEMENT = (
    "Radiograph computed from a CT by ray casting. Not acquired by an X-ray machine, not a measurement, "
    "not for diagnosis."
)
"""Sentence that accompanies every DRR."""

SYNTHETIC_STATEMENT = (
    "Synthetic CT predicted from radiographs by a neural network. Not acquired by a scanner, not a measurement, "
    "not for diagnosis."
)
"""Sentence that accompanies every predicted volume."""

DRR_NOTE = "COMPUTED radiograph from CT, not acquired"
"""`DRR_STATEMENT` in the 80 characters of the NIfTI field `descrip`."""

SYNTHETIC_NOTE = "SYNTHETIC CT from radiographs, not a measurement"
"""`SYNTHETIC_STATEMENT` in the 80 characters of the NIfTI field `descrip`."""

PHANTOM_NOTE = "procedural thorax phantom, no patient"
"""What the NIfTI field `descrip` of a phantom says."""

MARK_KEY = "X2CT"
"""Keyword of the PNG text chunk that holds a mark, and private creator of the DICOM element that does."""

MARK_TAGS = (0x00990010, 0x00991001)
"""Tags of the private creator (LO) and of the mark (UT) in a DICOM file."""

MARK_NIFTI_CODE = 6
"""Code of the NIfTI header extension that holds a mark: a comment in ASCII."""

MANUFACTURER = "X2CT bundle"
"""Manufacturer (0008,0070) in our DICOM files."""

MAX_LENGTH = 4000
"""Characters of the longest text that is read as a mark."""

_WORD = re.compile(r"[a-z][a-z0-9_.,+-]{0,119}")
_VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){1,2}(\.?[a-z+][a-z0-9.+]{0,15})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class MarkKind(StrEnum):
    """Kind of a marked image."""

    COMPUTED_RADIOGRAPH = "computed_radiograph"
    """DRR: a radiograph computed from a CT."""
    SYNTHETIC_CT = "synthetic_ct"
    """Volume predicted from radiographs."""


_STATEMENTS = {MarkKind.COMPUTED_RADIOGRAPH: DRR_STATEMENT, MarkKind.SYNTHETIC_CT: SYNTHETIC_STATEMENT}
_MADE_OF = {MarkKind.COMPUTED_RADIOGRAPH: "ct", MarkKind.SYNTHETIC_CT: "radiographs"}


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Statements of a computed image about itself; an entry that is missing is an empty text.

    Args:
        kind: what the image is.
        software: name of the software that made it.
        version: version of that software.
        geometry: preset of the acquisition.
        curve: HU -> mu curve of the acquisition.
        film_style: film style of the acquisition.
        view: view of a radiograph, or the views that a volume was predicted from, separated by commas.
        model: name of the network that predicted a volume.
        sha256: SHA-256 of the network's weights.
    """

    kind: MarkKind
    software: str = ""
    version: str = ""
    geometry: str = ""
    curve: str = ""
    film_style: str = ""
    view: str = ""
    model: str = ""
    sha256: str = ""

    @property
    def statement(self) -> str:
        """Sentence for human readers."""
        return _STATEMENTS[self.kind]

    @property
    def made_of(self) -> str:
        """What the image was computed from: "ct" or "radiographs"."""
        return _MADE_OF[self.kind]


_DETAILS = tuple(field.name for field in fields(Mark) if field.name not in ("kind", "software", "version"))


def mark(kind: str, details: Mapping[str, Any] | None = None) -> str:
    """Write the mark of an image.

    Args:
        kind: what the image is, a `MarkKind`.
        details: entries of a record. Those that a `Mark` holds are kept where they are short words in lower case; all
            others, such as the name of a file, are left out.

    Returns:
        One line of JSON in ASCII.

    Raises:
        ValueError: where there is no such kind.
    """
    said = _known(MarkKind(kind), {**(details or {}), "software": SOFTWARE, "version": VERSION})
    entries = {
        "x2ct_mark": 1,
        "kind": said.kind,
        "statement": said.statement,
        "made_of": said.made_of,
        "made_by": {"software": said.software, "version": said.version},
    }
    return json.dumps({**entries, **{name: value for name in _DETAILS if (value := getattr(said, name))}})


def read_mark(text: Any) -> Mark | None:
    """Read the mark of an image without trusting it.

    What a PNG file or a sidecar of version 0.1 says, `computed_from_ct`, is read as a mark too.

    Args:
        text: whatever was found in the place of a mark.

    Returns:
        The mark, of known entries and short words in lower case only; None where the text is not a mark.
    """
    said = _parse(text)
    if said.get("computed_from_ct") is True:
        style = {"film": "logistic"}.get(str(said.get("film")), said.get("film"))
        view = said.get("view") if isinstance(said.get("view"), str) else said.get("name")
        return _known(MarkKind.COMPUTED_RADIOGRAPH, {"film_style": style, **said, "view": view})
    if said.get("x2ct_mark") != 1 or said.get("kind") not in tuple(MarkKind):
        return None
    made_by = said.get("made_by")
    made_by = made_by if isinstance(made_by, dict) else {}
    return _known(
        MarkKind(said["kind"]), {**said, "software": made_by.get("software"), "version": made_by.get("version")}
    )


def _parse(text: Any) -> dict[str, Any]:
    if isinstance(text, bytes):
        text = text.decode("ascii", errors="replace")
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        return {}
    try:
        said = json.loads(text.rstrip("\0 "))
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _known(kind: MarkKind, said: Mapping[str, Any]) -> Mark:
    """Keep the entries that look like technical words; patients' names, dates and numbers do not."""
    forms = {"version": _VERSION, "sha256": _SHA256}
    kept = {
        name: said[name]
        for name in ("software", "version", *_DETAILS)
        if isinstance(said.get(name), str) and forms.get(name, _WORD).fullmatch(said[name])
    }
    return Mark(kind=kind, **kept)
