"""Write cohorts of phantoms."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from monai.utils import optional_import
from tqdm import tqdm

from conventions import PHANTOM_NOTE, InputError
from drr import VolumeGrid
from storage import check_run, write_atomically

from .phantom import thorax_phantom

nibabel, _ = optional_import("nibabel")

CUBE_MM = 320.0
"""Side of the cube that a phantom fills: the field of the paper's volumes."""


def write_phantom(folder: Path, size: int, seed: int) -> Path:
    """Write the phantom of a seed as `phantom_<seed>.nii.gz` (int16 HU); an existing one is kept.

    Args:
        folder: folder to write to.
        size: voxels per side of the 320 mm cube.
        seed: seed of the anatomy.

    Returns:
        The file.

    Raises:
        InputError: where the file exists with another size.
    """
    file = folder / f"phantom_{seed:04d}.nii.gz"
    if file.exists():
        if nibabel.load(file).shape != (size, size, size):
            raise InputError(f"{file}: exists with another size than {size}; give another folder")
        return file
    grid = VolumeGrid((size, size, size), CUBE_MM / size)
    volume_hu = thorax_phantom(seed, grid.shape, grid.spacing[0]).volume_hu
    image = nibabel.Nifti1Image(np.rint(volume_hu).astype(np.int16), grid.affine())
    image.header["descrip"] = PHANTOM_NOTE.encode()
    image.header.set_xyzt_units("mm")
    return write_atomically(file, lambda part: nibabel.save(image, part))


def write_phantoms(
    folder: str | os.PathLike[str], cases: int = 40, seed: int = 0, size: int = 128, workers: int | None = None
) -> list[Path]:
    """Write a cohort of procedural thorax phantoms, one file per case.

    Args:
        folder: folder to write to; made where it is missing.
        cases: number of phantoms.
        seed: seed of the first phantom; the others count up from it.
        size: voxels per side of the 320 mm cube; 128 gives the paper's 2.5 mm.
        workers: number of processes; by default one per core.

    Returns:
        The files, including those that existed.

    Raises:
        InputError: where a number is out of range, or a file exists with another size.
    """
    if any(not isinstance(n, int) for n in (cases, size, seed)) or min(cases, size) < 1 or seed < 0:
        raise InputError(f"cases and size must be integers from 1 up and seed from 0 up, got {cases}, {size}, {seed}")
    root = Path(folder)
    check_run("cpu", [root])
    root.mkdir(parents=True, exist_ok=True)
    work = partial(write_phantom, root, size)
    with ProcessPoolExecutor(workers or os.cpu_count()) as pool:
        return list(tqdm(pool.map(work, range(seed, seed + cases)), total=cases, desc="phantoms", unit="case"))
