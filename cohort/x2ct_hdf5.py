"""The HDF5 files of the authors of X2CT-GAN, read into a cohort and written from one.

A case is CASE/ct_xray_data.h5 with `ct`, (D, H, W) HU + 1024, and the DRRs `xray1` (PA) and `xray2` (lateral), 0 to
255. D runs to the feet, H to the back, W to the patient's left: that is how their DRRs lie, and how their program turns
a CT before it writes it. Not published are the type of the numbers, and how the cube of 320 mm became 256 voxels. What
is assumed is in the decisions of each case that is read, and in `cohort_to_hdf5`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from monai.utils import optional_import
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from conventions import PHANTOM_NOTE, SYNTHETIC_NOTE, InputError, MarkKind, mark
from drr import X2CT_ISOCENTRE_SLIP, Acquisition, VolumeGrid, preset
from export import write_png16
from readers import CT_LOG, DecisionRecord, finish_scan, read_ct
from storage import check_run, digest_of, key_of, set_aside, write_atomically
from transforms import RayCastDRR

from .datalist import read_cases
from .prepare import PreparedCohort, PrepareOptions
from .prepare.case import CASES, Source, note_of, prepare_case, write_case
from .prepare.run import finish_cohort
from .prepare.sources import HDF5_SUFFIXES
from .split import FOLDS, manifest_of, patient_of
from .x2ct_protocol import CUBE, OFFSET, RADIOGRAPH_MAX, crop_to_cube, resample_to_1mm

h5py, has_h5py = optional_import("h5py")

FILE_NAME = "ct_xray_data.h5"
"""Name of the file of each case; its folder has the name of the case."""

RADIOGRAPHS = {"pa": "xray1", "lateral": "xray2"}
"""View -> dataset."""

SIDE = 256
"""Voxels and pixels per side of the files that are written, as the authors' name LIDC256 says."""

DRR_OFFSET = 1000
"""What the authors subtract from a stored CT before ray casting, where their other code subtracts 1024."""

MAX_VALUES = 512**3
"""Largest number of values of an array that is read."""

HU_LIKE, HU_SHARE = -300, 0.01
"""A stored value that the ringing of cubic splines seldom reaches, and the share of values below it from which the CT
is in HU without offset."""

STRAIGHT = 0.9998
"""Smallest cosine between the axes of a CT and those of the patient, 1.1 degrees."""

MADE_OF = "sha256_of_ct"
"""Attribute of the files that are written: the SHA-256 of the CT."""

NOTE = "note"
"""Attribute of the files that are written: what a phantom says of itself."""

MADE_BY = {"geometry": "x2ct", "curve": "plastimatch", "film_style": "x2ct"}
"""How the DRRs of these files are made."""


def cohort_from_hdf5(
    source: str | os.PathLike[str], destination: str | os.PathLike[str], licence: str = "", seed: int = 0
) -> PreparedCohort:
    """Read the authors' HDF5 files into a cohort: CTs as NIfTI, radiographs as PNG, and a manifest.

    Voxels stay as they are, on a cube of 320 mm whose centre is the origin: the files do not tell where it lay in the
    patient. Cases have the names of their folders. A case that is finished, of the same file, is not made again.

    Args:
        source: folder that is searched with all folders below it for files ending in .h5 or .hdf5, or one such file.
        destination: folder of the cohort.
        licence: licence of the data, in words, for the manifest.
        seed: seed of the split into folds.

    Returns:
        The manifest and what was refused.

    Raises:
        InputError: where h5py is missing, or no file is found.
    """
    _need_h5py()
    folder = Path(destination)
    check_run("cpu", [folder])
    refused: list[tuple[str, str]] = []
    path_of: dict[str, str] = {}
    for file in tqdm(_find_files(Path(source)), desc="HDF5", unit="case"):
        case = file.parent.name if file.name == FILE_NAME else file.stem
        if case in path_of:
            refused.append((str(file), f"has the name of another case, {case}; give one of the two another name"))
            continue
        path_of[case] = str(file)
        one = Source(case, key_of(patient_of(case)), file, (file,), "h5")
        outcome = prepare_case(one, PrepareOptions(keep_table=True, licence=licence), folder.resolve(), _import_case)
        if "refused" in outcome:
            refused.append((str(file), outcome["refused"]))
    return finish_cohort(folder, path_of, refused, seed)


def cohort_to_hdf5(
    cohort: str | os.PathLike[str], destination: str | os.PathLike[str]
) -> tuple[list[Path], list[tuple[str, str]]]:
    """Write the cases of a cohort as HDF5 files that the authors' code reads, with a list of the cases of each fold.

    As the authors do, the CT is resampled to 1 mm by cubic splines, and 320 mm of it are kept, those towards the head.
    Radiographs that came from such a file are taken; otherwise DRRs are cast in the authors' geometry, with their
    slip of the isocentre and their offset. Assumed are float32, since their code rounds integers; 256 voxels by linear
    interpolation, the faces of the cube onto each other; DRRs of 256 pixels straight from this volume. They also
    masked the patient, as `python -m cohort prepare` does.

    Args:
        cohort: manifest, or the folder that holds it.
        destination: folder to write to. A file that was made of the same CT is kept, any other is renamed.

    Returns:
        The files, and what was refused: (CT, sentence).

    Raises:
        InputError: where h5py or the manifest is missing.
    """
    _need_h5py()
    folder = Path(destination)
    check_run("cpu", [folder])
    manifest = manifest_of(cohort)
    files: list[Path] = []
    refused: list[tuple[str, str]] = []
    listed: dict[str, list[str]] = {fold: [] for fold in FOLDS}
    for entry in tqdm(read_cases(manifest), desc="HDF5", unit="case"):
        try:
            files.append(_export_case(manifest.parent, entry, folder / entry["case"] / FILE_NAME))
        except InputError as error:
            refused.append((str(manifest.parent / entry["ct"]), str(error)))
        else:
            listed[entry["fold"]].append(entry["case"])
    for fold, names in listed.items():
        _write_list(folder / f"{fold}.txt", names)
    return files, refused


def read_hdf5_case(file: Path) -> tuple[np.ndarray, dict[str, np.ndarray], str]:
    """Read one of the authors' HDF5 files.

    Nothing outside the file is opened, and no more is read than a CT and two radiographs can hold.

    Args:
        file: the file.

    Returns:
        `ct`, (D, H, W), a cube, as it is stored; the radiographs by view, (rows, columns) as they are stored; and what
        a phantom says of itself.

    Raises:
        InputError: where the file is damaged, an array is missing, lies in another file, or does not hold what is
            expected.
    """
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


def _need_h5py() -> None:
    if not has_h5py:
        raise InputError("HDF5 needs the package h5py; install it, or the extra hdf5")


def _find_files(source: Path) -> list[Path]:
    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder; give the folder of the HDF5 files")
    found = [source] if source.is_file() else sorted(source.rglob("[!.]*"))
    files = [file for file in found if file.is_file() and (file == source or file.name.lower().endswith(HDF5_SUFFIXES))]
    if not files:
        raise InputError(f"{source}: holds no file ending in .h5 or .hdf5; give the folder of the HDF5 files")
    return files


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


def _import_case(source: Source, options: PrepareOptions, destination: Path) -> dict[str, Any]:
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


def _export_case(root: Path, entry: Mapping[str, Any], file: Path) -> Path:
    """Write the HDF5 file of a case, unless it was made of the same CT already."""
    ct = root / entry["ct"]
    if not ct.is_file():
        raise InputError(f"{ct}: is listed and does not exist; split the cohort again")
    made_of = digest_of(ct)
    if file.is_file() and _made_of(file) == made_of:
        return file
    note = note_of(ct)
    if note == SYNTHETIC_NOTE:
        raise InputError(f"{ct}: is a CT predicted from radiographs, no truth to train on; leave it out")
    stored = _stored_ct(ct)
    places = entry.get("radiographs", {})
    images = {view: _read_png(root / place) for view, place in places.items()} or cast_radiographs(stored)
    set_aside(file)
    attributes = {MADE_OF: made_of, NOTE: note, "x2ct_mark": mark(MarkKind.COMPUTED_RADIOGRAPH, MADE_BY)}
    return write_atomically(file, partial(_write, stored=stored, images=images, attributes=attributes))


def _made_of(file: Path) -> str:
    """Return the SHA-256 of the CT that a file was made of; empty where it does not say so."""
    try:
        with h5py.File(file, "r") as content:
            return str(content.attrs.get(MADE_OF, ""))
    except OSError:
        return ""


def _stored_ct(file: Path) -> np.ndarray:
    """Read a CT as the authors store it: (D, H, W) float32, HU + 1024 in the cube of 320 mm."""
    scan = read_ct(file)
    axes = nibabel.orientations
    turn = axes.ornt_transform(axes.io_orientation(scan.affine), axes.axcodes2ornt("IPL"))
    affine = scan.affine @ axes.inv_ornt_aff(turn, scan.volume_hu.shape)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    cosines = np.abs(affine[:3, :3]).max(0) / spacing
    if cosines.min() < STRAIGHT:
        raise InputError(f"{file}: its axes lean; straighten it with: python -m cohort prepare")
    volume = np.rint(axes.apply_orientation(scan.volume_hu, turn) + OFFSET).astype(np.int16)
    if volume.shape != (SIDE,) * 3 or np.abs(spacing * SIDE - CUBE).max() > 0.1:
        upwards, _ = resample_to_1mm(volume[::-1], spacing)
        volume = crop_to_cube(upwards)[::-1].astype(np.float32)
        volume = ndimage.zoom(volume, SIDE / CUBE, order=1, mode="nearest", grid_mode=True)
    return np.ascontiguousarray(volume, dtype=np.float32)


def cast_radiographs(stored: np.ndarray) -> dict[str, np.ndarray]:
    """Cast the authors' DRRs of a CT as they store it.

    Args:
        stored: (D, H, W), a cube of 320 mm, HU + 1024.

    Returns:
        View -> (256, 256) float32, whole numbers from 0 to 255.
    """
    views = [view.moved(X2CT_ISOCENTRE_SLIP) for view in preset(MADE_BY["geometry"], (SIDE, SIDE), list(RADIOGRAPHS))]
    grid = VolumeGrid(stored.shape, CUBE / len(stored))
    acquisition = Acquisition(grid=grid, geometry=views, curve=MADE_BY["curve"], film_style=MADE_BY["film_style"])
    images = RayCastDRR(acquisition)(torch.from_numpy(stored - np.float32(DRR_OFFSET))[None]).numpy()
    return dict(zip(RADIOGRAPHS, np.rint(images * RADIOGRAPH_MAX).astype(np.float32), strict=True))


def _read_png(file: Path) -> np.ndarray:
    """Read a radiograph that `cohort_from_hdf5` wrote, 0 to 255."""
    try:
        with Image.open(file) as picture:
            grey = np.asarray(picture, dtype=np.float64)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error}); make the cohort again") from error
    return (grey / 65535 * RADIOGRAPH_MAX).astype(np.float32)


def _write(file: Path, stored: np.ndarray, images: Mapping[str, np.ndarray], attributes: Mapping[str, str]) -> None:
    with h5py.File(file, "w") as content:
        content.attrs.update(attributes)
        content.create_dataset("ct", data=stored, chunks=(16, SIDE, SIDE), compression="gzip", compression_opts=1)
        for view, name in RADIOGRAPHS.items():
            content.create_dataset(name, data=images[view])
        content["ori_size"] = np.array([CUBE] * 3)
        content["spacing"] = np.ones(3)


def _write_list(file: Path, names: Iterable[str]) -> None:
    """Write the cases of a fold, one in each line; a fold without cases has no list."""
    text = "".join(f"{name}\n" for name in names)
    if text and not (file.is_file() and file.read_text(encoding="utf-8") == text):
        set_aside(file)
        write_atomically(file, lambda part: part.write_text(text, encoding="utf-8"))
