"""A CT volume to its radiographs by ray casting."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from conventions import AXIS_DIRECTIONS_LPS, LPS_TO_RAS, InputError, Keys
from drr import ConeBeam, VolumeGrid, hu_to_mu, preset, project, to_film


class RayCastDRR(Transform):
    """Render the radiographs of a volume, on the device it lies on.

    Args:
        grid: the volume's grid; its centre is the isocentre.
        geometry: name of a preset ("x2ct", "chest"), or view objects.
        curve: HU -> mu curve, see `drr.hu_to_mu`.
        film: film style, see `drr.to_film`.
        detector_shape: (rows, columns) of the detector of a preset.
        device: where to render, for example a GPU; None is where the volume lies. The result lies with the volume.

    Raises:
        InputError: where a name is unknown.
    """

    def __init__(
        self,
        grid: VolumeGrid,
        geometry: str | Sequence[ConeBeam] = "x2ct",
        curve: str = "plastimatch",
        film: str = "x2ct",
        detector_shape: Sequence[int] = (128, 128),
        device: str | torch.device | None = None,
    ) -> None:
        hu_to_mu(torch.zeros(1), curve), to_film(torch.zeros(1, 1), film)  # refuses an unknown name now
        self.grid = grid
        self.views = preset(geometry, detector_shape) if isinstance(geometry, str) else tuple(geometry)
        self.curve = curve
        self.film = film
        self.device = device

    def __call__(self, volume_hu: torch.Tensor) -> MetaTensor:
        """Render.

        Args:
            volume_hu: (1, D, H, W) on the grid, in HU before windowing.

        Returns:
            (views, rows, columns) float32 in [0, 1], bright = dense. Its meta holds the affine and the
            `spatial_shape` of the *volume's* grid, so that a volume predicted from it is placed right.

        Raises:
            InputError: where the volume is not on the grid or has other axes.
        """
        affine = self.grid.affine()
        if isinstance(volume_hu, MetaTensor):
            affine = volume_hu.affine.cpu().numpy()
            _check_axes(affine)
            volume_hu = volume_hu.as_tensor()
        mu = hu_to_mu(volume_hu.to(self.device or volume_hu.device, torch.float32), self.curve)
        image = to_film(project(mu[None], self.grid, self.views), self.film)[0].to(volume_hu.device)
        return MetaTensor(image, affine=affine, meta={"spatial_shape": np.array(self.grid.shape)})


def _check_axes(affine: np.ndarray) -> None:
    """Refuse a volume whose axes do not run to the feet, the back and the left; a small rotation passes."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    expected = np.array(LPS_TO_RAS)[:, None] * np.array(AXIS_DIRECTIONS_LPS).T
    if (np.sum(directions * expected, axis=0) < np.sqrt(0.5)).any():
        raise InputError(
            "the volume's axes do not run to the feet, the back and the patient's left: bring it to the grid "
            "with ResampleToGrid first"
        )


class RayCastDRRd(MapTransform):
    """Dictionary-based `RayCastDRR`: the volume under the key stays, its radiographs appear under `image_key`."""

    def __init__(
        self,
        keys: KeysCollection,
        grid: VolumeGrid,
        geometry: str | Sequence[ConeBeam] = "x2ct",
        curve: str = "plastimatch",
        film: str = "x2ct",
        detector_shape: Sequence[int] = (128, 128),
        device: str | torch.device | None = None,
        image_key: str = Keys.IMAGE,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if len(self.keys) != 1:
            raise InputError(f"RayCastDRRd renders one volume under one key, got {self.keys}")
        self.image_key = image_key
        self.transform = RayCastDRR(grid, geometry, curve, film, detector_shape, device)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Render the volume under the key."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[self.image_key] = self.transform(item[key])
        return item
