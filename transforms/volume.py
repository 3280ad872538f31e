"""A CT file to a checked volume in HU on the network's grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import GaussianSmooth, SpatialResample, Transform
from monai.utils import optional_import

from conventions import HU_AIR, HU_MAX, LPS_TO_RAS, InputError
from drr import VolumeGrid

from .dictionary import EachKey

nibabel, has_nibabel = optional_import("nibabel")

NIFTI_SUFFIXES = (".nii", ".nii.gz")

MIN_EXTENT_MM = 100.0
"""A volume that covers less than this along an axis holds no thorax."""

AIR_HU = (-1100.0, -500.0)
TISSUE_HU = (-200.0, 300.0)
MIN_SHARE = 0.01
"""In a CT of a chest at least this share of the voxels is lung or air, and at least this share is tissue; an image
without is not in HU. Padding (-2000) vouches for nothing."""

BLUR_PER_FACTOR = 0.35
"""Standard deviation, in source voxels per factor of down-sampling, of the blur that keeps aliasing away."""


class ReadVolume(Transform):
    """Read one CT from a NIfTI file and refuse what is none.

    Values are clipped to the 12-bit range of a CT, [-1024, 3071] HU: scanner padding (-2000, -3024) becomes air.
    """

    def __call__(self, path: str | os.PathLike[str]) -> MetaTensor:
        """Read a file.

        Args:
            path: a NIfTI file, 3-D, in HU.

        Returns:
            (1, X, Y, Z) float32 HU in the file's own axes, with its affine (RAS, mm).

        Raises:
            InputError: where the file is missing, unreadable, not 3-D, not finite, without orientation or not in HU.
        """
        file = Path(path)
        if not file.is_file():
            raise InputError(f"{file}: there is no such file; give the path of a CT in NIfTI format")
        if not file.name.lower().endswith(NIFTI_SUFFIXES):
            raise InputError(f"{file}: not a NIfTI file by its name; convert the CT to .nii or .nii.gz")
        if not has_nibabel:
            raise InputError(f"{file}: reading NIfTI needs the package nibabel; install it")
        try:
            image = nibabel.load(file)
            shape = _check_axes(file, image)
            voxels = np.array(image.dataobj, dtype=np.float32).reshape(shape)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # nibabel raises whatever the broken bytes happen to cause
            reason = " ".join(str(error).split())
            raise InputError(f"{file}: cannot be read as NIfTI ({reason}); export the CT again") from error
        _check_values(file, voxels)
        volume = torch.from_numpy(voxels[None]).clip(HU_AIR, HU_MAX)
        return MetaTensor(volume, affine=image.affine)


def _check_axes(file: Path, image: Any) -> tuple[int, int, int]:
    """The 3-D shape of a NIfTI image; an `InputError` where it is not 3-D or does not say where its voxels lie."""
    shape = tuple(image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(f"{file}: has {len(shape)} dimensions {shape}, a CT has 3; extract one volume")
    if min(shape) < 2:
        raise InputError(f"{file}: is a single slice of {shape} voxels; give the whole CT as one file")
    if not image.header["qform_code"] and not image.header["sform_code"]:
        raise InputError(f"{file}: states no orientation (qform and sform code 0); export it with its orientation")
    steps = image.affine[:3, :3]
    spacing = np.linalg.norm(steps, axis=0)
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(steps)) < 1e-3 * spacing.prod():
        raise InputError(f"{file}: its affine holds no usable axes (spacing {spacing.tolist()} mm); export it again")
    extent = spacing * shape
    if extent.min() < MIN_EXTENT_MM:
        size = " x ".join(f"{e:.0f}" for e in extent)
        raise InputError(f"{file}: covers only {size} mm, too little for a thorax; give a CT of the whole chest")
    return shape


def _check_values(file: Path, voxels: np.ndarray) -> None:
    """Raise an `InputError` where voxel values are not those of a chest CT in HU."""
    broken = int(np.count_nonzero(~np.isfinite(voxels)))
    if broken:
        raise InputError(
            f"{file}: {broken} voxels are not finite (NaN or infinite); repair them or export the CT again"
        )
    shares = [np.mean((voxels > low) & (voxels < high)) for low, high in (AIR_HU, TISSUE_HU)]
    if min(shares) < MIN_SHARE:
        raise InputError(
            f"{file}: values run from {voxels.min():g} to {voxels.max():g}, {shares[0]:.0%} of them like air or lung "
            f"and {shares[1]:.0%} like tissue, which is no chest CT in Hounsfield units "
            "(air about -1000, tissue about 0); apply the rescale slope and intercept first"
        )


class ResampleToGrid(Transform):
    """Bring a CT to the network's axes and grid, still in HU; what the scan did not cover becomes air.

    Args:
        grid: the grid, for example 128^3 voxels of 2.5 mm.
        anchor: "centre" lays the grid's centre on the scan's; "head" lays the top of the grid on the top of a scan
            that is taller, as the authors did (they keep the 320 mm towards the head).
    """

    def __init__(self, grid: VolumeGrid, anchor: Literal["centre", "head"] = "centre") -> None:
        if anchor not in ("centre", "head"):
            raise InputError(f"anchor must be 'centre' or 'head', got {anchor!r}")
        self.grid = grid
        self.anchor = anchor
        self.resample = SpatialResample(mode="bilinear", padding_mode="zeros", align_corners=False)

    def __call__(self, volume_hu: MetaTensor) -> MetaTensor:
        """Resample a volume.

        Args:
            volume_hu: (1, X, Y, Z) HU in any axes, with its affine (RAS, mm).

        Returns:
            (1, D, H, W) float32 HU; D runs to the feet, H to the back, W to the patient's left.
        """
        affine = volume_hu.affine.numpy()
        target = self.grid.affine(self._centre_lps(affine, volume_hu.shape[1:]))
        # Blur and resampling pad with zero, so air is moved there for their sake.
        blurred = self._blur(volume_hu - HU_AIR, affine)
        resampled = self.resample(blurred, dst_affine=target, spatial_size=self.grid.shape) + HU_AIR
        return MetaTensor(resampled.as_tensor().float(), affine=target)

    def _centre_lps(self, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Patient position of the grid's centre in mm."""
        middle = (np.array(shape) - 1) / 2
        centre_ras = affine[:3, :3] @ middle + affine[:3, 3]
        if self.anchor == "head":
            height = np.abs(affine[2, :3]) @ np.array(shape)
            centre_ras[2] += max(0.0, height - self.grid.size[0]) / 2
        return centre_ras * LPS_TO_RAS

    def _blur(self, volume: MetaTensor, affine: np.ndarray) -> MetaTensor:
        """Low-pass the volume along the axes in which the grid is coarser than the scan."""
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        factor = min(self.grid.spacing) / spacing
        sigma = [BLUR_PER_FACTOR * f if f > 1 else 0.0 for f in factor]
        return GaussianSmooth(sigma)(volume) if any(sigma) else volume


class ReadVolumed(EachKey):
    """Dictionary-based `ReadVolume`: the path under each key becomes the volume."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, ReadVolume(), allow_missing_keys)


class ResampleToGridd(EachKey):
    """Dictionary-based `ResampleToGrid`."""

    def __init__(
        self,
        keys: KeysCollection,
        grid: VolumeGrid,
        anchor: Literal["centre", "head"] = "centre",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, ResampleToGrid(grid, anchor), allow_missing_keys)
