"""Read a CT and bring it to the network's grid, still in HU."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import GaussianSmooth, SpatialResample, Transform
from monai.utils import ImageMetaKey

from conventions import HU_AIR, LPS_TO_RAS
from drr import Acquisition, VolumeGrid
from readers import lung_centre, read_ct

from .dictionary import EachKey

BLUR_PER_FACTOR = 0.35
"""Standard deviation of the blur against aliasing, in source voxels per factor of down-sampling."""

DECISIONS = "decisions"
"""Key of the decisions about a CT in its metadata."""

COARSE_MM = 4.0
"""Voxel spacing at which lungs are looked for."""


def block_means(volume: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """Shrink a volume to the means of blocks of voxels; what is left over at the ends is cut off.

    Args:
        volume: (A, B, C).
        blocks: voxels of a block along each axis.

    Returns:
        (A // a, B // b, C // c) float32.
    """
    a, b, c = blocks
    count = [size // block for size, block in zip(volume.shape, blocks, strict=True)]
    whole = volume[: count[0] * a, : count[1] * b, : count[2] * c]
    return whole.reshape(count[0], a, count[1], b, count[2], c).mean((1, 3, 5), dtype=np.float32)


def shrink(volume_hu: MetaTensor, spacing: float) -> MetaTensor:
    """Shrink a CT to the means of blocks of voxels, which fit into a spacing.

    Where it is only looked at, means are as good as a blur, much faster, and need no memory beside the scan.

    Args:
        volume_hu: (1, X, Y, Z) HU in any axes, with its affine (RAS, mm).
        spacing: mm that a block has at most along each axis; an axis that is coarser stays.

    Returns:
        (1, X', Y', Z') float32 HU, with its affine.
    """
    affine = volume_hu.affine.numpy().copy()
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    blocks = np.clip((spacing / steps).astype(int), 1, volume_hu.shape[1:])
    affine[:3, 3] += affine[:3, :3] @ ((blocks - 1) / 2)
    affine[:3, :3] *= blocks
    means = torch.from_numpy(block_means(volume_hu.numpy()[0], blocks.tolist()))
    return MetaTensor(means[None], affine=affine)


class ReadVolume(Transform):
    """Read one CT with `readers.read_ct` and refuse what is not a chest CT in HU.

    Values are clipped to the 12-bit range of a CT, [-1024, 3071] HU: scanner padding (-2000, -3024) becomes air.
    """

    def __call__(self, path: str | os.PathLike[str]) -> MetaTensor:
        """Read a file.

        Args:
            path: a file in a format of `readers.CT_SUFFIXES`, or the folder or any file of a DICOM CT.

        Returns:
            (1, X, Y, Z) float32 HU in the file's own axes, with its affine (RAS, mm), its name, and the decisions as a
            JSON text under `decisions`.

        Raises:
            InputError: as in `readers.read_ct`.
        """
        scan = read_ct(path)
        meta = {ImageMetaKey.FILENAME_OR_OBJ: str(path), DECISIONS: json.dumps(scan.record.to_list())}
        volume_hu = torch.from_numpy(scan.volume_hu.astype(np.float32, copy=False))
        return MetaTensor(volume_hu[None], affine=torch.from_numpy(scan.affine), meta=meta)


class ResampleToGrid(Transform):
    """Bring a CT to the network's axes and grid, still in HU; what the scan did not cover becomes air.

    Args:
        acquisition: acquisition whose grid and anchor are taken.
    """

    def __init__(self, acquisition: Acquisition) -> None:
        self.grid = acquisition.grid
        self.anchor = acquisition.anchor
        self.resample = SpatialResample(mode="bilinear", padding_mode="zeros", align_corners=False)

    def __call__(self, volume_hu: MetaTensor) -> MetaTensor:
        """Resample a volume.

        Args:
            volume_hu: (1, X, Y, Z) HU in any axes, with its affine (RAS, mm).

        Returns:
            (1, D, H, W) float32 HU; D runs to the feet, H to the back, W to the patient's left.

        Raises:
            InputError: where the anchor is "lungs" and there are none.
        """
        affine = volume_hu.affine.numpy()
        by_lungs = self.anchor == "lungs"
        centre = self._lungs_lps(volume_hu) if by_lungs else self._centre_lps(affine, volume_hu.shape[1:])
        target = self.grid.affine(centre)
        # Blur and resampling pad with zero, so air is moved to zero before.
        blurred = self._blur(volume_hu - HU_AIR, affine)
        resampled = self.resample(blurred, dst_affine=target, spatial_size=self.grid.shape) + HU_AIR
        return MetaTensor(resampled.as_tensor().float(), affine=target)

    def _centre_lps(self, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return the patient position of the grid's centre in mm."""
        middle = (np.array(shape) - 1) / 2
        centre_ras = affine[:3, :3] @ middle + affine[:3, 3]
        if self.anchor == "head":
            height = np.abs(affine[2, :3]) @ np.array(shape)
            centre_ras[2] += max(0.0, height - self.grid.size[0]) / 2
        return centre_ras * LPS_TO_RAS

    def _lungs_lps(self, volume_hu: MetaTensor) -> np.ndarray:
        """Return the patient position of the centre of the lungs in mm, whatever the grid of the model."""
        affine, shape = volume_hu.affine.numpy(), np.array(volume_hu.shape[1:])
        corners = np.stack(np.meshgrid(*([-0.5, n - 0.5] for n in shape), indexing="ij")).reshape(3, 8)
        corners_lps = (affine[:3, :3] @ corners + affine[:3, 3:]).T * LPS_TO_RAS
        low, high = corners_lps.min(0), corners_lps.max(0)
        whole = VolumeGrid(np.ceil((high - low)[::-1] / COARSE_MM).astype(int).tolist(), COARSE_MM)
        scan = shrink(volume_hu, COARSE_MM) - HU_AIR
        coarse = self.resample(scan, dst_affine=whole.affine((low + high) / 2), spatial_size=whole.shape) + HU_AIR
        name = str(volume_hu.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "CT"))
        voxel = lung_centre(coarse[0].numpy(), COARSE_MM, name)
        return whole.positions_lps(voxel[None])[0] + (low + high) / 2

    def _blur(self, volume: MetaTensor, affine: np.ndarray) -> MetaTensor:
        """Low-pass the volume along the axes in which the grid is coarser than the scan."""
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        factor = min(self.grid.spacing) / spacing
        sigma = [BLUR_PER_FACTOR * f if f > 1 else 0.0 for f in factor]
        return GaussianSmooth(sigma)(volume) if any(sigma) else volume


class ReadVolumed(EachKey):
    """Dictionary-based `ReadVolume`; the path under each key becomes the volume.

    Args:
        keys: keys of the paths.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, ReadVolume(), allow_missing_keys)


class ResampleToGridd(EachKey):
    """Dictionary-based `ResampleToGrid`.

    Args:
        keys: keys of the volumes.
        acquisition: as in `ResampleToGrid`.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(self, keys: KeysCollection, acquisition: Acquisition, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, ResampleToGrid(acquisition), allow_missing_keys)
