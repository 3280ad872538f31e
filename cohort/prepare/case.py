"""Prepare one CT: read, straighten, take the table away, measure, and write it with a record of all that was done."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from monai.utils import optional_import

from conventions import HU_AIR, PHANTOM_NOTE, SYNTHETIC_NOTE, InputError
from readers import CT_SUFFIXES, NIFTI_SUFFIXES, SKIN_HU, read_ct
from storage import digest_of, write_atomically

from .coverage import measure_coverage
from .once import make_once
from .resample import KERNEL, resample, straight_grid

pydicom, _ = optional_import("pydicom")

FORM = 2
"""Number of this form of preparation; cases of another are made again."""

CASES = "cases"
"""Folder of the volumes of a prepared cohort."""


@dataclass(frozen=True)
class PrepareOptions:
    """What decides about a prepared volume.

    Args:
        spacing: voxel spacing in mm.
        keep_table: whether what is not the patient stays.
        licence: licence of the data, in words, for the manifest.
    """

    spacing: float = 1.0
    keep_table: bool = False
    licence: str = ""


@dataclass(frozen=True)
class Source:
    """A CT to prepare.

    Args:
        case: name of the case; nothing of it comes from DICOM tags.
        patient: key of the patient.
        path: what `readers.read_ct` reads: a file, or one of the files of a series.
        files: all of its files, in a fixed order.
        kind: "dicom", or the suffix of the file without the dot.
        series: key of the series; empty where there is none.
        manufacturer: who made the scanner (0008,0070); empty where it is not known.
    """

    case: str
    patient: str
    path: Path
    files: tuple[Path, ...]
    kind: str
    series: str = ""
    manufacturer: str = ""


Prepare = Callable[[Source, PrepareOptions, Path], dict[str, Any]]
"""Function that makes the volume of a CT in the folder of the cohort, and returns its entry of the manifest."""


def prepare_case(
    source: Source, options: PrepareOptions, destination: Path, prepare: Prepare | None = None
) -> dict[str, Any]:
    """Prepare one CT, unless it was prepared already from the same files with the same options.

    Args:
        source: the CT.
        options: how.
        destination: folder of the cohort; `cases` and `records` in it are made.
        prepare: function that makes it; by default it is read, resampled and freed of the table.

    Returns:
        Its entry of the manifest without a fold; or {"name", "refused": sentence} where the CT is refused.
    """
    return make_once(
        source.case,
        source.path,
        destination,
        f"{CASES}/{source.case}.nii.gz",
        lambda: {"form": FORM, "content": digest_of(*source.files), **asdict(options), "patient": source.patient},
        lambda: (prepare or _prepare)(source, options, destination),
    )


def _prepare(source: Source, options: PrepareOptions, destination: Path) -> dict[str, Any]:
    note = note_of(source.path)
    if is_synthetic(source.path):
        raise InputError(f"{source.path}: is a CT predicted from radiographs, no truth to train on; leave it out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the decoders; what matters is in the record of the scan
        scan = read_ct(source.path, source.files)
    shape, affine = scan.volume_hu.shape, scan.affine
    grid, centre = straight_grid(shape, affine, options.spacing)
    volume, target = resample(scan.volume_hu, affine, grid, centre)
    decisions = scan.record.to_list()
    del scan
    scanned = {"shape": list(shape), "spacing": [float(mm) for mm in np.linalg.norm(affine[:3, :3], axis=0)]}
    entry = write_case(source, options, destination, volume, target, scanned, note)
    return {**entry, "kernel": KERNEL, "decisions": decisions}


def write_case(
    source: Source,
    options: PrepareOptions,
    destination: Path,
    volume: np.ndarray,
    affine: np.ndarray,
    scanned: dict[str, list[Any]],
    note: str,
) -> dict[str, Any]:
    """Measure a volume, take the table away unless it is to stay, and write it.

    Args:
        source: what it was made of.
        options: how.
        destination: folder of the cohort.
        volume: (D, H, W) int16 HU; changed in place.
        affine: (4, 4) voxel index to RAS in mm.
        scanned: `shape` and `spacing` in mm of what was read.
        note: what the NIfTI field `descrip` will say.

    Returns:
        Its entry of the manifest, without fold, kernel and decisions.

    Raises:
        InputError: where there is no body, or the file cannot be written.
    """
    facts, body = measure_coverage(volume, affine, options.spacing)
    if not body.any():
        raise InputError(f"{source.path}: shows nothing denser than air; give a CT of the chest")
    dense = int(np.count_nonzero((volume > SKIN_HU) & ~body))
    removed_ml = 0.0 if options.keep_table else round(dense * options.spacing**3 / 1000, 1)
    if not options.keep_table:
        volume[~body] = HU_AIR
    file = destination / CASES / f"{source.case}.nii.gz"
    _write(file, volume, affine, note)
    return {
        "case": source.case,
        "patient": source.patient,
        "ct": f"{CASES}/{file.name}",
        "sha256": digest_of(file),
        "source": {
            "kind": source.kind,
            "files": len(source.files),
            "series": source.series,
            "manufacturer": source.manufacturer,
            "shape": scanned["shape"],
            "spacing": [round(mm, 4) for mm in scanned["spacing"]],
        },
        "spacing": options.spacing,
        "table": "kept" if options.keep_table else "removed",
        "removed_ml": removed_ml,
        "phantom": note == PHANTOM_NOTE,
        **facts,
        "licence": options.licence,
    }


def note_of(file: Path) -> str:
    """Return which of our notes a NIfTI file holds; empty for all other files."""
    if not file.name.lower().endswith(NIFTI_SUFFIXES):
        return ""
    try:
        note = nibabel.load(file).header["descrip"].item().rstrip(b"\0").decode("latin-1")
    except Exception:  # of a damaged file, which reading refuses with its reason
        return ""
    return note if note in (PHANTOM_NOTE, SYNTHETIC_NOTE) else ""


def is_synthetic(file: str | os.PathLike[str]) -> bool:
    """Return whether a CT says that it was predicted from radiographs.

    Args:
        file: NIfTI, which has our note; or DICOM, whose Synthetic Data (0008,001C) is YES.
    """
    path = Path(file)
    if path.name.lower().endswith(CT_SUFFIXES):
        return note_of(path) == SYNTHETIC_NOTE
    tag = 0x0008001C  # old dictionaries lack it
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=[tag])
        return "YES" in str(dataset[tag].value)
    except Exception:  # pydicom raises whatever is missing or broken; reading the CT gives the reason
        return False


def _write(file: Path, volume: np.ndarray, affine: np.ndarray, note: str) -> None:
    """Write a volume (D, H, W) as int16 NIfTI in the order of RAS axes, the same bytes each time."""
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume, affine))
    image.header["descrip"] = note.encode()
    image.header.set_xyzt_units("mm")
    write_atomically(file, lambda part: nibabel.save(image, part))
