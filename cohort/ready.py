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

PHANTOM_FOLDER = "phantoms"
"""Name that asks for phantoms: a folder of this name is made where there is none."""

NO_COHORT = (
    f"no cohort was given: give --dataset_dir FOLDER, a folder of CTs, or --dataset_dir {PHANTOM_FOLDER}, which makes "
    "thorax phantoms in a folder of that name"
)
"""Sentence for a training or an evaluation without CTs."""


def ready_manifest(
    folder: str | os.PathLike[str] | None, patients: str | os.PathLike[str] | None = None, phantoms: int = 40
) -> Path:
    """Return the manifest of a folder of CTs; if there is none, split the CTs by patient as `cohort split` does.

    With several processes, the first one writes and the others wait for it.

    Args:
        folder: folder of the CT files (NIfTI, MHA, MHD, NRRD), or a manifest; `PHANTOM_FOLDER` is made, of phantoms, if
            it does not exist.
        patients: JSON file with an object {patient: [file names]}; by default patients are recognised by file name
            (`patient_of`). An existing manifest must agree with it.
        phantoms: number of phantoms.

    Returns:
        The manifest.

    Raises:
        InputError: where no folder is given, or it does not exist, holds no CTs or too few patients, or cannot be
            written to, or its manifest assigns a file to another patient than the list does.
    """
    if folder in (None, ""):
        raise InputError(NO_COHORT)
    together = dist.is_available() and dist.is_initialized()
    if together and dist.get_rank() > 0:
        dist.barrier()  # until the first process is past the one below
    manifest = _ready(Path(str(folder)), patients, phantoms)
    if together and dist.get_rank() == 0:
        dist.barrier()
    return manifest


def _ready(folder: Path, patients: str | os.PathLike[str] | None, phantoms: int) -> Path:
    if folder.is_file():
        return folder
    manifest = folder / MANIFEST_NAME
    if manifest.is_file():
        if patients is not None:
            check_patients(manifest, patients)
        return manifest
    if not folder.is_dir():
        if folder != Path(PHANTOM_FOLDER):
            raise InputError(f"{folder}: there is no such cohort; give --dataset_dir, a folder of CTs")
        logger.info("making %d thorax phantoms in %s", phantoms, folder.absolute())
        write_phantoms(folder, phantoms)
    elif not os.access(folder, os.W_OK):
        raise InputError(
            f"{folder}: holds no {MANIFEST_NAME} and cannot be written to; write one elsewhere (python -m cohort split "
            f"{folder} --output FILE) and give it by --manifest FILE"
        )
    split_cohort(folder, patients=patients)
    by_name = "" if patients else ", recognised by file name"
    logger.info("split %s by patient%s; see %s", folder, by_name, manifest)
    return manifest
