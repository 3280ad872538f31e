"""Write a cohort as the HDF5 files of the authors of X2CT-GAN (`cohort.prepare.hdf5` reads them)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
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

from conventions import SYNTHETIC_NOTE, InputError, MarkKind, mark
from drr import X2CT_ISOCENTRE_SLIP, Acquisition, VolumeGrid, preset
from readers import read_ct
from storage import check_run, digest_of, set_aside, write_atomically
from transforms import RayCastDRR

from .datalist import read_cases
from .prepare.case import note_of
from .prepare.hdf5 import FILE_NAME, MADE_BY, NOTE, RADIOGRAPHS
from .split import FOLDS, manifest_of
from .x2ct_protocol import CUBE, OFFSET, RADIOGRAPH_MAX, crop_to_cube, resample_to_1mm

h5py, has_h5py = optional_import("h5py")

SIDE = 256
"""Voxels and pixels per side of the files that are written, as the authors' name LIDC256 says."""

DRR_OFFSET = 1000
"""What the authors subtract from a stored CT before ray casting, where their other code subtracts 1024."""

STRAIGHT = 0.9998
"""Smallest cosine between the axes of a CT and those of the patient, 1.1 degrees."""

MADE_OF = "sha256_of_ct"
"""Attribute of the files that are written: the SHA-256 of the CT."""


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
    if not has_h5py:
        raise InputError("HDF5 needs the package h5py; install it, or the extra hdf5")
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
    """Read a radiograph that `prepare_hdf5` wrote, 0 to 255."""
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
