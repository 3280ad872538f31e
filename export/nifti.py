"""A predicted volume as a NIfTI file in HU with a sidecar that says what it is."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.utils import optional_import

from conventions import InputError, Keys, set_aside, write_atomically, write_json

nibabel, _ = optional_import("nibabel")

logger = logging.getLogger("x2ct.export")

SYNTHETIC_STATEMENT = (
    "Synthetic CT predicted from radiographs by a neural network. Not acquired by a scanner, not a measurement, "
    "not for diagnosis."
)

_HEADER_NOTE = "SYNTHETIC CT from radiographs, not a measurement"
"""The same in the 80 characters of the NIfTI `descrip` field."""


def write_nifti(
    path: str | os.PathLike[str],
    volume_hu: np.ndarray,
    affine: np.ndarray,
    record: Mapping[str, Any] | None = None,
    radiographs: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write a synthetic CT as int16 HU, and beside it a JSON sidecar that says that it is synthetic.

    Args:
        path: file to write, ending in .nii or .nii.gz; a file of an earlier run is renamed, not overwritten.
        volume_hu: (X, Y, Z) HU in the axes of the affine.
        affine: (4, 4) voxel index to RAS position in mm.
        record: what made it (network, geometry, window, versions), copied into the sidecar.
        radiographs: view and decisions of each film it was predicted from, copied too.

    Returns:
        The NIfTI file written; the sidecar has the same name with .json.

    Raises:
        InputError: where voxels are not finite.
    """
    file = Path(path)
    if not np.isfinite(volume_hu).all():
        raise InputError(f"{file}: the predicted volume is not finite, so the model is broken; train it again")
    voxels = np.rint(np.clip(volume_hu, -32768, 32767)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header["descrip"] = _HEADER_NOTE.encode()
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    sidecar = file.with_name(file.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    statement: dict[str, Any] = {
        "synthetic": True,
        "statement": SYNTHETIC_STATEMENT,
        "unit": "HU",
        "model": dict(record or {}),
    }
    if radiographs:
        statement["radiographs"] = list(radiographs)
    set_aside(file, sidecar)
    write_json(sidecar, statement)
    return write_atomically(file, lambda part: nibabel.save(image, part))


class NiftiWriter:
    """Handler that writes the predicted volume of each case with `write_nifti`.

    Volumes are expected in HU, so the evaluator's postprocessing has run. A handler and no transform, so that whoever
    serves the bundle's postprocessing leaves no patient's volume on its disk.

    Args:
        output_dir: folder to write to.
        name: name of the file without suffix, where the item holds no `case`.
        record: what made it, see `write_nifti`.
        dataset: a `cohort.TolerantDataset`, whose films' decisions go into the sidecar; None leaves them out.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str],
        name: str = "synthetic_ct",
        record: Mapping[str, Any] | None = None,
        dataset: Any = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.name = name
        self.record = record
        self.dataset = dataset

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the cases of one decollated batch: `pred` (1, D, H, W) with the affine it carries."""
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            volume = output[Keys.PRED]
            case = str(item.get(Keys.CASE, self.name))
            films = [] if self.dataset is None else self.dataset.films[case]
            told = [{"view": str(film.view), "decisions": film.record.to_list()} for film in films]
            path = self.output_dir / f"{case}.nii.gz"
            written = write_nifti(path, volume[0].cpu().numpy(), volume.affine.cpu().numpy(), self.record, told)
            logger.info("wrote %s", written)
