"""A predicted volume as a NIfTI file in HU with a sidecar that says what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import optional_import

from conventions import Keys, set_aside, write_atomically

nibabel, _ = optional_import("nibabel")

SYNTHETIC_STATEMENT = (
    "Synthetic CT predicted from radiographs by a neural network. Not acquired by a scanner, not a measurement, "
    "not for diagnosis."
)

_HEADER_NOTE = "SYNTHETIC CT from radiographs, not a measurement"
"""The same in the 80 characters of the NIfTI `descrip` field."""


def write_nifti(
    path: str | os.PathLike[str], volume_hu: np.ndarray, affine: np.ndarray, record: Mapping[str, Any] | None = None
) -> Path:
    """Write a synthetic CT as int16 HU, and beside it a JSON sidecar that says that it is synthetic.

    Args:
        path: file to write, ending in .nii or .nii.gz; a file of an earlier run is renamed, not overwritten.
        volume_hu: (X, Y, Z) HU in the axes of the affine.
        affine: (4, 4) voxel index to RAS position in mm.
        record: what made it (network, geometry, window, versions), copied into the sidecar.

    Returns:
        The NIfTI file written; the sidecar has the same name with .json.
    """
    file = Path(path)
    voxels = np.rint(np.clip(volume_hu, -32768, 32767)).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, affine)
    image.header["descrip"] = _HEADER_NOTE.encode()
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    sidecar = file.with_name(file.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    statement = {"synthetic": True, "statement": SYNTHETIC_STATEMENT, "unit": "HU", "model": dict(record or {})}
    set_aside(file)
    set_aside(sidecar)
    write_atomically(sidecar, lambda part: part.write_text(json.dumps(statement, indent=4) + "\n", encoding="utf-8"))
    return write_atomically(file, lambda part: nibabel.save(image, part))


class WriteNiftid(MapTransform):
    """Write the predicted volume under a key with `write_nifti`.

    Args:
        keys: the key of a MetaTensor (1, D, H, W) in HU with its affine.
        output_dir: folder to write to.
        name: name of the file without suffix, where the item holds no `case`.
        record: what made it, see `write_nifti`.
        allow_missing_keys: whether to pass over a missing key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | os.PathLike[str],
        name: str = "synthetic_ct",
        record: Mapping[str, Any] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.output_dir = Path(output_dir)
        self.name = name
        self.record = record

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the volume under the key; the item is handed on."""
        for key in self.key_iterator(dict(data)):
            volume: MetaTensor = data[key]
            path = self.output_dir / f"{data.get(Keys.CASE, self.name)}.nii.gz"
            write_nifti(path, volume[0].cpu().numpy(), volume.affine.cpu().numpy(), self.record)
        return dict(data)
