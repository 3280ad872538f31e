"""Write a predicted volume as NIfTI."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from conventions import SYNTHETIC_NOTE, SYNTHETIC_STATEMENT, InputError, MarkKind, mark
from storage import set_aside, write_atomically

from .marked_nifti import write_marked_nifti

nibabel, _ = optional_import("nibabel")


def write_nifti(
    path: str | os.PathLike[str],
    volume_hu: np.ndarray,
    affine: np.ndarray,
    record: Mapping[str, Any] | None = None,
    radiographs: Sequence[Mapping[str, Any]] = (),
    consistency: Mapping[str, Any] | None = None,
    quantity: str = "HU",
    acquisition: Mapping[str, Any] | None = None,
) -> Path:
    """Write a synthetic CT as int16 HU, marked as synthetic, with a JSON sidecar.

    Args:
        path: file to write, ending in .nii or .nii.gz; a file of an earlier run is renamed, not overwritten.
        volume_hu: (X, Y, Z) HU in the axes of the affine.
        affine: (4, 4) voxel index to RAS position in mm.
        record: what made it, as `networks.describe_model` returns it; copied into the sidecar.
        radiographs: view and decisions of each film it was predicted from; copied into the sidecar.
        consistency: how well the volume agrees with these films, as `networks.Consistency.record` returns it; copied
            into the sidecar.
        quantity: what the voxels hold, copied into the sidecar.
        acquisition: how the radiographs were made, as `drr.Acquisition.record` returns it; copied into the sidecar.

    Returns:
        The NIfTI file written; the sidecar has the same name with .json.

    Raises:
        InputError: where voxels are not finite.
    """
    if not np.isfinite(volume_hu).all():
        raise InputError(f"{path}: the predicted volume is not finite, so the model is broken; train it again")
    model = dict(record or {})
    sidecar: dict[str, Any] = {"synthetic": True, "statement": SYNTHETIC_STATEMENT, "unit": quantity, "model": model}
    if acquisition is not None:
        sidecar["acquisition"] = dict(acquisition)
    if radiographs:
        sidecar["radiographs"] = list(radiographs)
    if consistency is not None:
        sidecar["consistency"] = dict(consistency)
    text = mark(MarkKind.SYNTHETIC_CT, mark_details(model))
    return write_marked_nifti(path, _whole(volume_hu), affine, SYNTHETIC_NOTE, text, sidecar)


def write_truth(path: str | os.PathLike[str], volume_hu: np.ndarray, affine: np.ndarray) -> Path:
    """Write the CT that a prediction is compared with as int16 HU, without a mark, since it is not synthetic.

    Args:
        path: file to write, ending in .nii or .nii.gz; a file of an earlier run is renamed, not overwritten.
        volume_hu: (X, Y, Z) HU in the axes of the affine.
        affine: (4, 4) voxel index to RAS position in mm.

    Returns:
        The file written.
    """
    image = nibabel.Nifti1Image(_whole(volume_hu), affine)
    image.header.set_xyzt_units("mm")
    set_aside(path)
    return write_atomically(path, lambda part: nibabel.save(image, part))


def _whole(volume_hu: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(volume_hu, -32768, 32767)).astype(np.int16)


def mark_details(record: Mapping[str, Any]) -> dict[str, Any]:
    """Select the entries of a model's record that a mark holds.

    Args:
        record: what made a volume, as `networks.describe_model` returns it.

    Returns:
        Entries for `conventions.mark`.
    """
    acquisition = record.get("acquisition") or {}
    network = record.get("network") or {}
    return {
        **acquisition,
        "view": ",".join(map(str, acquisition.get("views", ()))),
        "model": network.get("name"),
        "sha256": record.get("sha256"),
    }
