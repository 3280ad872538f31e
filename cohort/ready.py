"""A manifest for whoever has not written one."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch.distributed as dist

from conventions import InputError

from .generate import write_phantoms
from .split import MANIFEST_NAME, split_cohort

logger = logging.getLogger("x2ct.cohort")


def ready_manifest(
    folder: str | os.PathLike[str],
    patients: str | os.PathLike[str] | None = None,
    phantom_folder: str | os.PathLike[str] | None = None,
    phantoms: int = 40,
) -> Path:
    """The manifest of a folder of CTs; where there is none, the CTs are split by patient, as `cohort split` does.

    Of several processes the first one writes, and the others wait for it.

    Args:
        folder: holds the CT files (.nii, .nii.gz), or is a manifest.
        patients: JSON object {patient: [file names]}; by default the file names say who is who (`patient_of`).
        phantom_folder: where phantoms are made, if `folder` names this one and it is not there.
        phantoms: how many.

    Returns:
        The manifest.

    Raises:
        InputError: where the folder is not there, holds no CTs or too few patients, or cannot be written to.
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
        return manifest
    if not folder.is_dir():
        if phantom_folder is None or folder != Path(phantom_folder):
            raise InputError(f"{folder}: there is no such cohort; give --dataset_dir, a folder of CTs, one file a case")
        logger.info("no --dataset_dir was given: making %d thorax phantoms in %s", phantoms, folder)
        write_phantoms(folder, phantoms)
    split_cohort(folder, patients=patients)
    logger.info("split %s by patient%s; see %s", folder, "" if patients else ", whom the file names tell", manifest)
    return manifest
