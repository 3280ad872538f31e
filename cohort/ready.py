"""Create the manifest on first use."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch.distributed as dist

from conventions import InputError

from .phantoms import write_phantoms
from .split import MANIFEST_NAME, check_patients, split_cohort

logger = logging.getLogger("x2ct.cohort")


def ready_manifest(
    folder: str | os.PathLike[str],
    patients: str | os.PathLike[str] | None = None,
    phantom_folder: str | os.PathLike[str] | None = "output/cohort",
    phantoms: int = 40,
) -> Path:
    """Return the manifest of a folder of CTs; if there is none, split the CTs by patient as `cohort split` does.

    With several processes, the first one writes and the others wait for it.

    Args:
        folder: folder of the CT files (NIfTI, MHA, MHD, NRRD), or a manifest.
        patients: JSON file with an object {patient: [file names]}; by default patients are recognised by file name
            (`patient_of`). An existing manifest must agree with it.
        phantom_folder: folder in which phantoms are made, if `folder` names it and it does not exist.
        phantoms: number of phantoms.

    Returns:
        The manifest.

    Raises:
        InputError: where the folder does not exist, holds no CTs or too few patients, or cannot be written to, or its
            manifest assigns a file to another patient than the list does.
    """
    together = dist.is_available() and dist.is_initialized()
    if together and dist.get_rank() > 0:
        dist.barrier()  # until the first process is past the one below
    manifest = _ready(Path(folder), patients, phantom_folder, phantoms)
    if together and dist.get_rank() == 0:
        dist.barrier()
    return manifest


def _ready(
    folder: Path,
    patients: str | os.PathLike[str] | None,
    phantom_folder: str | os.PathLike[str] | None,
    phantoms: int,
) -> Path:
    if folder.is_file():
        return folder
    manifest = folder / MANIFEST_NAME
    if manifest.is_file():
        if patients is not None:
            check_patients(manifest, patients)
        return manifest
    if not folder.is_dir():
        if phantom_folder is None or folder != Path(phantom_folder):
            raise InputError(f"{folder}: there is no such cohort; give --dataset_dir, a folder of CTs")
        logger.info("no --dataset_dir was given: making %d thorax phantoms in %s", phantoms, folder)
        write_phantoms(folder, phantoms)
    split_cohort(folder, patients=patients)
    by_name = "" if patients else ", recognised by file name"
    logger.info("split %s by patient%s; see %s", folder, by_name, manifest)
    return manifest
