"""Prepare a case of the authors of X2CT-GAN, whose HDF5 files hold a CT that was prepared already, and its DRRs.

A case is CASE/ct_xray_data.h5 with `ct`, (D, H, W) HU + 1024, and the DRRs `xray1` (PA) and `xray2` (lateral), 0 to
255. D runs to the feet, H to the back, W to the patient's left: that is how their DRRs lie, and how their program turns
a CT before it writes it. Not published are the type of the numbers, and how the cube of 320 mm became 256 voxels; what
is assumed is in the decisions of each case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import PHANTOM_NOTE, InputError
from drr import VolumeGrid
from export import write_png16
from readers import CT_LOG, DecisionRecord, finish_scan
from storage import key_of, set_aside

from ..split import patient_of
from ..x2ct_protocol import CUBE, OFFSET, RADIOGRAPH_MAX
from .case import CASES, PrepareOptions, Source, prepare_case, write_case

h5py, has_h5py = optional_import("h5py")

HDF5_SUFFIXES = (".h5", ".hdf5")
"""Suffixes of HDF5 files, in lower case."""

HDF5 = "h5"
"""Kind of a source that is HDF5."""

FILE_NAME = "ct_xray_data.h5"
"""Name of the file of each case; its folder has the name of the case."""

RADIOGRAPHS = {"pa": "xray1", "lateral": "xray2"}
"""View -> dataset."""

MAX_VALUES = 512**3
"""Largest number of values of an array that is read."""

HU_LIKE, HU_SHARE = -300, 0.01
"""A stored value that the ringing of cubic splines seldom reaches, and the share of values below it from which the CT
is in HU without offset."""

NOTE = "note"
"""Attribute of the files that are written: what a phantom says of itself."""

MADE_BY = {"geometry": "x2ct", "curve": "plastimatch", "film_style": "x2ct"}
"""How the DRRs of these files are made."""


def hdf5_source(file: Path) -> Source:
    """Describe a case of the authors, named after its folder; any other file has its own name."""
    case = file.parent.name if file.name == FILE_NAME else file.stem
    return Source(case, key_of(patient_of(case)), file, (file,), HDF5)


def prepare_hdf5(source: Source, options: PrepareOptions, destination: Path) -> dict[str, Any]:
    """Prepare one HDF5 file, unless it was prepared already: the CT as NIfTI, its radiographs as PNG.

    Voxels stay as they are, on a cube of 320 mm whose centre is the origin: the files do not tell where it lay in the
    patient. They were resampled and masked by the authors, and to do both once more would blur them and part them from
    their DRRs.

    Args:
        source: the file.
        options: how; only the licence matters here.
        destination: folder of the cohort.

    Returns:
        As `prepare_case`.
    """
    kept = PrepareOptions(keep_table=True, licence=options.licence)
    return prepare_case(source, kept, destination, _prepare)


def read_hdf5_case(file: Path) -> tuple[np.ndarray, dict[str, np.ndarray], str]:
    """Read one of the authors' HDF5 files.

    Nothing outside the file is opened, and no more is read than a CT and two radiographs can hold.

    Args:
        file: the file.

    Returns:
        `ct`, (D, H, W), a cube, as it is stored; the radiographs by view, (rows, columns) as they are stored; and what
        a phantom says of itself.

    Raises:
        InputError: where h5py is missing, the file is damaged, an array is missing, lies in another file, or does not
            hold what is expected.
    """
    if not has_h5py:
        raise InputError(f"{file}: HDF5 needs the package h5py; install it, or the extra hdf5")
    try:
        with h5py.File(file, "r") as content:
            ct = _read_array(file, content, "ct", 3)
            images = {view: _read_array(file, content, name, 2) for view, name in RADIOGRAPHS.items()}
            note = str(content.attrs.get(NOTE, ""))
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:  # whatever the broken bytes cause
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: cannot be read as HDF5 ({reason}); copy or unpack it again") from error
    if len({*ct.shape}) != 1:
        raise InputError(f"{file}: its ct has the shape {ct.shape}, where a cube is expected; give the authors' files")
    below = np.count_nonzero(ct < HU_LIKE) / ct.size
    if below > HU_SHARE:
        raise InputError(
            f"{file}: {below:.0%} of its ct lies below {HU_LIKE}, so it holds HU, where HU + {OFFSET} is expected; add "
            f"{OFFSET} to it"
        )
    _check_radiographs(file, images)
    return ct, images, note if note == PHANTOM_NOTE else ""


def _read_array(file: Path, content: Any, name: str, axes: int) -> np.ndarray:
    """Read a dataset after its kind, shape and type have been checked."""
    there = ", ".join(sorted(content)[:10]) or "nothing"
    key = name.encode()
    if not content.id.links.exists(key):
        raise InputError(f"{file}: holds no {name}, but {there}; give the authors' files ({FILE_NAME})")
    if content.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise InputError(f"{file}: its {name} is a link to another place; copy the array into the file")
    dataset = content[name]
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(f"{file}: its {name} is a group, where an array is expected; give the authors' files")
    if dataset.is_virtual or dataset.external:
        raise InputError(f"{file}: its {name} lies in another file; copy the array into the file")
    shape = dataset.shape or ()
    if len(shape) != axes or min(shape) < 2 or math.prod(shape) > MAX_VALUES:
        raise InputError(
            f"{file}: its {name} has the shape {shape}, where {axes} axes and up to {MAX_VALUES} values are expected; "
            "give the authors' files"
        )
    if dataset.dtype.kind not in "iuf":
        raise InputError(
            f"{file}: its {name} holds {dataset.dtype}, where numbers are expected; give the authors' files"
        )
    array: np.ndarray = dataset[()]
    if not np.isfinite(array).all():
        raise InputError(f"{file}: its {name} holds values that are not finite; copy or unpack it again")
    return array


def _check_radiographs(file: Path, images: Mapping[str, np.ndarray]) -> None:
    """Refuse radiographs of different shapes, or outside the range from 0 to 255."""
    shapes = [image.shape for image in images.values()]
    if len(set(shapes)) != 1:
        raise InputError(f"{file}: its radiographs have the shapes {shapes}; give two of one shape")
    for view, image in images.items():
        low, high = float(image.min()), float(image.max())
        if low < 0 or high > RADIOGRAPH_MAX or high <= 1:
            raise InputError(
                f"{file}: its {RADIOGRAPHS[view]} runs from {low:g} to {high:g}, where 0 to {RADIOGRAPH_MAX} is "
                "expected; scale it"
            )


def _prepare(source: Source, options: PrepareOptions, destination: Path) -> dict[str, Any]:
    """Write the CT and the radiographs of an HDF5 file, and return their entry of the manifest without a fold."""
    stored, images, note = read_hdf5_case(source.path)
    spacing = CUBE / len(stored)
    affine = VolumeGrid(stored.shape, spacing).affine()
    record = DecisionRecord(str(source.path), CT_LOG)
    record.found("type", f"the CT is {stored.dtype}, the radiographs are {images['pa'].dtype}")
    record.assumed("HU", f"{OFFSET} is subtracted, as where the authors write a CT; their ray casting subtracts 1000")
    record.assumed("axes", "the first voxel is at the head, the front and the patient's right")
    record.assumed(
        "spacing", f"{spacing:g} mm: {len(stored)} voxels are {CUBE} mm; where it lay in the patient is lost"
    )
    scan = finish_scan(source.path, stored.astype(np.float32) - OFFSET, affine, record)
    file = destination / CASES / f"{source.case}.nii.gz"
    pictures = {view: destination / "radiographs" / f"{source.case}_{view}.png" for view in images}
    set_aside(file, *pictures.values())
    for view, image in images.items():
        write_png16(pictures[view], image / RADIOGRAPH_MAX, {**MADE_BY, "view": view})
    options = replace(options, spacing=spacing)
    scanned = {"shape": list(stored.shape), "spacing": [spacing] * 3}
    entry = write_case(source, options, destination, np.rint(scan.volume_hu).astype(np.int16), affine, scanned, note)
    places = {view: picture.relative_to(destination).as_posix() for view, picture in pictures.items()}
    return {**entry, "kernel": "none", "radiographs": places, "decisions": record.to_list()}
