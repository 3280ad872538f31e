"""Radiograph files to the network's input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import optional_import
from torch.nn.functional import interpolate

from conventions import InputError, View
from drr import VolumeGrid

from .dictionary import EachKey

nibabel, has_nibabel = optional_import("nibabel")
Image, has_pillow = optional_import("PIL.Image")

FilePath = str | os.PathLike[str]

RADIOGRAPH_SUFFIXES = (".png", ".nii", ".nii.gz")


class ReadRadiograph(Transform):
    """Read the radiographs of one patient, taken or rendered in the model's geometry, into one tensor.

    A grey PNG of 8 or 16 bit for each view, or one NIfTI file that holds them as planes; a view is square and covers
    the detector of the geometry. What comes out carries the affine of the volume that will be predicted from it,
    centred on the isocentre.

    Args:
        grid: grid of the volume to be predicted.
        image_size: rows and columns of the result; other sizes are resampled with antialiasing.
        views: which views the model was trained on, in order.
    """

    def __init__(self, grid: VolumeGrid, image_size: int, views: Sequence[str] = tuple(View)) -> None:
        self.grid = grid
        self.image_size = image_size
        self.views = tuple(View(view) for view in views)

    def __call__(self, paths: FilePath | Sequence[FilePath]) -> MetaTensor:
        """Read one file a view, or one NIfTI file that holds all of them.

        Args:
            paths: [PA, lateral] as PNG, or one NIfTI file whose array is (rows, columns, views).

        Returns:
            (views, rows, columns) float32 in [0, 1], bright = dense; affine and `spatial_shape` are those of the
            volume's grid.

        Raises:
            InputError: where a file is missing, unreadable, not square, out of range, or a view is missing.
        """
        files = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(path) for path in paths]
        planes = [plane for file in files for plane in _read_planes(file)]
        if len(planes) != len(self.views):
            raise InputError(
                f"{', '.join(map(str, files))}: {len(planes)} radiograph(s), this model needs {len(self.views)} "
                f"({', '.join(self.views)}); give one PNG for each, or one NIfTI file of all"
            )
        image = torch.cat([self._to_size(plane) for plane in planes])
        return MetaTensor(image, affine=self.grid.affine(), meta={"spatial_shape": np.array(self.grid.shape)})

    def _to_size(self, plane: torch.Tensor) -> torch.Tensor:
        if plane.shape[-1] == self.image_size:
            return plane[None]
        size = (self.image_size, self.image_size)
        return interpolate(plane[None, None], size, mode="bilinear", antialias=True, align_corners=False)[0].clip(0, 1)


def _read_planes(file: Path) -> list[torch.Tensor]:
    """The views in a file, each (rows, columns) float32 in [0, 1]."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; give a radiograph (PNG or NIfTI) for each view")
    name = file.name.lower()
    if not name.endswith(RADIOGRAPH_SUFFIXES):
        raise InputError(f"{file}: not a PNG or NIfTI file by its name; convert the radiograph to 16-bit PNG")
    pixels = _read_png(file) if name.endswith(".png") else _read_nifti(file)
    if pixels.shape[0] != pixels.shape[1]:
        raise InputError(
            f"{file}: {pixels.shape[0]} x {pixels.shape[1]} pixels are not square; crop or pad it to the detector"
        )
    return [torch.from_numpy(np.ascontiguousarray(pixels[..., i])) for i in range(pixels.shape[2])]


def _read_png(file: Path) -> np.ndarray:
    if not has_pillow:
        raise InputError(f"{file}: reading PNG needs the package pillow; install it")
    try:
        with Image.open(file) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{file}: cannot be read as PNG ({error}); export the radiograph again") from error
    if mode not in ("L", "I", "I;16"):
        raise InputError(f"{file}: is a {mode} image, not a grey one; export the radiograph as 8- or 16-bit grey")
    return (pixels / (255 if mode == "L" else 65535)).astype(np.float32)[..., None]


def _read_nifti(file: Path) -> np.ndarray:
    if not has_nibabel:
        raise InputError(f"{file}: reading NIfTI needs the package nibabel; install it")
    try:
        pixels = np.asarray(nibabel.load(file).dataobj, dtype=np.float32)
    except MemoryError:
        raise
    except Exception as error:  # nibabel raises whatever the broken bytes happen to cause
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: cannot be read as NIfTI ({reason}); export the radiograph again") from error
    if pixels.ndim != 3 or pixels.shape[2] != len(View):
        # A plane of its own is refused: image writers put its columns first, arrays their rows.
        raise InputError(
            f"{file}: shape {pixels.shape} is not (rows, columns, {len(View)} views); give PNG files instead"
        )
    if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
        raise InputError(f"{file}: values must be finite and lie in [0, 1], bright = dense; scale the radiograph")
    return pixels


class ReadRadiographd(EachKey):
    """Dictionary-based `ReadRadiograph`: the path or paths under the key become the tensor."""

    def __init__(
        self,
        keys: KeysCollection,
        grid: VolumeGrid,
        image_size: int,
        views: Sequence[str] = tuple(View),
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, ReadRadiograph(grid, image_size, views), allow_missing_keys)
