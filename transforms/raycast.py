"""Render the radiographs of a CT volume by ray casting."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform

from conventions import AXIS_DIRECTIONS_LPS, LPS_TO_RAS, InputError, Keys
from drr import Acquisition, VolumeGrid, geometry_tensor, hu_to_mu, perturb_geometry, project, to_film

from .dictionary import check_one_key


class RayCastDRR(Transform):
    """Render the radiographs of a volume, or of a batch of volumes in one call.

    Args:
        acquisition: grid, views, attenuation curve and film style.
        device: where to render, for example a GPU; None is where the volume lies. The result lies with the volume.

    Raises:
        InputError: where the device is not available.
    """

    def __init__(self, acquisition: Acquisition, device: str | torch.device | None = None) -> None:
        if device is not None and torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device {str(device)!r} is not available on this machine; render on 'cpu'")
        self.acquisition = acquisition
        self.device = device

    def __call__(self, volume_hu: torch.Tensor) -> MetaTensor:
        """Render the radiographs.

        Args:
            volume_hu: (1, D, H, W) or (B, 1, D, H, W) on the grid, in HU before windowing.

        Returns:
            (views, rows, columns) or (B, views, rows, columns), float32 in [0, 1], bright = dense. Its meta holds the
            affine and the `spatial_shape` of the *volume's* grid, so that a volume predicted from it is placed right,
            and under `geometry` the views it was rendered in, (views, 4, 3) or (B, views, 4, 3), LPS, mm.

        Raises:
            InputError: where the volume is not on the grid or has other axes.
        """
        if volume_hu.ndim not in (4, 5):
            raise InputError(f"a volume has the shape (1, D, H, W) or (B, 1, D, H, W), got {tuple(volume_hu.shape)}")
        grid = self.acquisition.grid
        affine = grid.affine()
        if isinstance(volume_hu, MetaTensor):
            affine = volume_hu.affine.cpu().numpy()
            _check_axes(affine, grid)
            volume_hu = volume_hu.as_tensor()
        volumes = volume_hu if volume_hu.ndim == 5 else volume_hu[None]
        mu = hu_to_mu(volumes.to(self.device or volumes.device, torch.float32), self.acquisition.curve)
        views = self._views(len(volumes))
        line_integrals = project(mu, grid, views, detector_shape=self.acquisition.detector_shape)
        images = self._tone(to_film(line_integrals, self.acquisition.film_style)).to(volume_hu.device)
        geometry = self._stated(len(volumes)).float()
        if volume_hu.ndim == 4:
            images, geometry = images[0], geometry[0]
        return MetaTensor(images, affine=affine, meta={"spatial_shape": np.array(grid.shape), "geometry": geometry})

    def _views(self, batch: int) -> Any:
        """Return the views of all volumes, or those of each one, (B, views, 4, 3) float64."""
        return self.acquisition.views

    def _stated(self, batch: int) -> torch.Tensor:
        """Return the geometry that the radiographs state, (B, views, 4, 3), after `_views`."""
        return geometry_tensor(self.acquisition.views).expand(batch, -1, -1, -1)

    def _tone(self, images: torch.Tensor) -> torch.Tensor:
        return images


class RandRayCastDRR(RayCastDRR, Randomizable):
    """`RayCastDRR` with views and tone that vary from image to image, as those of real examinations do.

    Each view of each volume is drawn independently and uniformly within plus and minus the given amounts. Nothing is
    mirrored.

    Args:
        acquisition: as in `RayCastDRR`.
        device: as in `RayCastDRR`.
        sdd: change of the source-detector distance in mm.
        sod: change of the source-isocentre distance in mm.
        angle: rotation about the patient's long axis in degrees.
        tilt: tilt of the beam towards the head or the feet in degrees.
        shift: shift of the beam across the patient in mm, along columns and rows.
        tone: logarithm of the gamma that the film is raised to.
        unstated: largest share of each change of the geometry that is not stated under `geometry`, at most 1, as real
            films seldom say how they were taken. Half of the volumes state the true geometry.

    Raises:
        InputError: where an amount is negative, or more than the whole change is unstated.
    """

    def __init__(
        self,
        acquisition: Acquisition,
        device: str | torch.device | None = None,
        *,
        sdd: float = 0.0,
        sod: float = 0.0,
        angle: float = 0.0,
        tilt: float = 0.0,
        shift: float = 0.0,
        tone: float = 0.0,
        unstated: float = 0.0,
    ) -> None:
        super().__init__(acquisition, device)
        self.amounts = {
            "sdd": sdd,
            "sod": sod,
            "angle": angle,
            "tilt": tilt,
            "shift_columns": shift,
            "shift_rows": shift,
            "tone": tone,
        }
        for name, amount in self.amounts.items():
            if not amount >= 0:
                raise InputError(f"{name} must not be negative, got {amount}")
        if not 0 <= unstated <= 1:
            raise InputError(f"unstated is a share between 0 and 1, got {unstated}")
        self.unstated = unstated
        self._drawn: dict[str, torch.Tensor] = {}
        self._left_out = torch.zeros(1, 1, dtype=torch.float64)

    def randomize(self, data: int) -> None:
        """Draw the amounts, each (B, views), for a number of volumes, and the share of them that is not stated."""
        shape = (data, len(self.acquisition.views))
        self._drawn = {name: torch.from_numpy(self.R.uniform(-a, a, shape)) for name, a in self.amounts.items()}
        if self.unstated:
            self._left_out = torch.from_numpy(self.R.uniform(-self.unstated, self.unstated, (data, 1))).clip(min=0)

    def _views(self, batch: int) -> torch.Tensor:
        self.randomize(batch)
        return self._moved(batch, 1.0)

    def _stated(self, batch: int) -> torch.Tensor:
        return self._moved(batch, 1.0 - self._left_out)

    def _moved(self, batch: int, share: torch.Tensor | float) -> torch.Tensor:
        """Return the views moved by a share of what was drawn, (B, views, 4, 3) float64."""
        moves = {name: drawn * share for name, drawn in self._drawn.items() if name != "tone"}
        exact = geometry_tensor(self.acquisition.views, torch.float64).expand(batch, -1, -1, -1)
        return perturb_geometry(exact, **moves)

    def _tone(self, images: torch.Tensor) -> torch.Tensor:
        gamma = torch.exp(self._drawn["tone"]).to(images)[..., None, None]
        return images.clamp(min=0) ** gamma


SCALE_TOLERANCE = 1.25
"""Largest ratio of a volume's spacing to its grid's; augmentation scales patients."""


def _check_axes(affine: np.ndarray, grid: VolumeGrid) -> None:
    """Refuse a volume whose axes do not run to the feet, the back and the left in the grid's steps.

    A small rotation and a small scale pass.
    """
    steps = np.linalg.norm(affine[..., :3, :3], axis=-2)
    ratio = steps / np.array(grid.spacing)
    if (ratio > SCALE_TOLERANCE).any() or (ratio < 1 / SCALE_TOLERANCE).any():
        raise InputError(
            f"the volume's voxels are {np.round(steps, 3).tolist()} mm apart, those of the grid {list(grid.spacing)}: "
            "bring it to the grid with ResampleToGrid first"
        )
    directions = affine[..., :3, :3] / steps[..., None, :]
    expected = np.array(LPS_TO_RAS)[:, None] * np.array(AXIS_DIRECTIONS_LPS).T
    if (np.sum(directions * expected, axis=-2) < np.sqrt(0.5)).any():
        raise InputError(
            "the volume's axes do not run to the feet, the back and the patient's left: bring it to the grid "
            "with ResampleToGrid first"
        )


class RayCastDRRd(MapTransform):
    """Dictionary-based `RayCastDRR`.

    The volume under the key stays. Its radiographs appear under `image`, and the views they were rendered in under
    `geometry`, (views, 4, 3) in mm, LPS.

    Args:
        keys: the one key of the volume.
        acquisition: as in `RayCastDRR`.
        device: as in `RayCastDRR`.
        allow_missing_keys: whether to skip a key that is not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        acquisition: Acquisition,
        device: str | torch.device | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = RayCastDRR(acquisition, device)
        check_one_key(self)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Render the volume under the key."""
        return _render(self, data)


class RandRayCastDRRd(MapTransform, Randomizable):
    """Dictionary-based `RandRayCastDRR`; the views that were drawn appear under `geometry`, (views, 4, 3).

    Args:
        keys: the one key of the volume.
        acquisition: as in `RayCastDRR`.
        device: as in `RayCastDRR`.
        allow_missing_keys: whether to skip a key that is not there.
        **amounts: as in `RandRayCastDRR`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        acquisition: Acquisition,
        device: str | torch.device | None = None,
        allow_missing_keys: bool = False,
        **amounts: float,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = RandRayCastDRR(acquisition, device, **amounts)
        check_one_key(self)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandRayCastDRRd:
        """Seed the transform."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Render the volume under the key."""
        return _render(self, data)


def _render(transform: RayCastDRRd | RandRayCastDRRd, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
    """Put the radiographs of the volume under the key, and their geometry, into the item."""
    item = dict(data)
    for key in transform.key_iterator(item):
        image = transform.transform(item[key])
        item[Keys.GEOMETRY] = image.meta.pop("geometry")
        item[Keys.IMAGE] = image
    return item
