"""A CT volume to its radiographs by ray casting."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, Transform

from conventions import AXIS_DIRECTIONS_LPS, LPS_TO_RAS, InputError, Keys, View
from drr import Beam, VolumeGrid, geometry_tensor, hu_to_mu, perturb_geometry, preset, project, to_film


class RayCastDRR(Transform):
    """Render the radiographs of a volume, or of a batch of volumes in one call, on the device they lie on.

    Args:
        grid: the volume's grid; its centre is the isocentre.
        geometry: name of a preset ("x2ct", "chest"), or view objects.
        curve: HU -> mu curve, see `drr.hu_to_mu`.
        film: film style, see `drr.to_film`.
        detector_shape: (rows, columns) of the detector of a preset.
        device: where to render, for example a GPU; None is where the volume lies. The result lies with the volume.
        views: which views of a preset, "pa" and "lateral" in the order of the result; view objects are taken all.

    Raises:
        InputError: where a name is unknown, or the device is not there.
    """

    def __init__(
        self,
        grid: VolumeGrid,
        geometry: str | Sequence[Beam] = "x2ct",
        curve: str = "plastimatch",
        film: str = "x2ct",
        detector_shape: Sequence[int] = (128, 128),
        device: str | torch.device | None = None,
        views: Sequence[str] = tuple(View),
    ) -> None:
        hu_to_mu(torch.zeros(1), curve), to_film(torch.zeros(1, 1), film)  # refuses an unknown name now
        if device is not None and torch.device(device).type == "cuda" and not torch.cuda.is_available():
            raise InputError(f"device {str(device)!r} is not to be had here; render on 'cpu'")
        self.grid = grid
        self.views = preset(geometry, detector_shape, views) if isinstance(geometry, str) else tuple(geometry)
        if len({view.detector_shape for view in self.views}) != 1:
            raise InputError(f"the views need one detector shape, got {[view.detector_shape for view in self.views]}")
        self.curve = curve
        self.film = film
        self.device = device

    def __call__(self, volume_hu: torch.Tensor) -> MetaTensor:
        """Render.

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
        affine = self.grid.affine()
        if isinstance(volume_hu, MetaTensor):
            affine = volume_hu.affine.cpu().numpy()
            _check_axes(affine, self.grid)
            volume_hu = volume_hu.as_tensor()
        volumes = volume_hu if volume_hu.ndim == 5 else volume_hu[None]
        mu = hu_to_mu(volumes.to(self.device or volumes.device, torch.float32), self.curve)
        views = self._views(len(volumes))
        line_integrals = project(mu, self.grid, views, detector_shape=self.views[0].detector_shape)
        images = self._tone(to_film(line_integrals, self.film)).to(volume_hu.device)
        geometry = views.float() if isinstance(views, torch.Tensor) else geometry_tensor(views)
        geometry = geometry.expand(len(volumes), -1, -1, -1)
        if volume_hu.ndim == 4:
            images, geometry = images[0], geometry[0]
        return MetaTensor(
            images, affine=affine, meta={"spatial_shape": np.array(self.grid.shape), "geometry": geometry}
        )

    def _views(self, batch: int) -> tuple[Beam, ...] | torch.Tensor:
        """The views of all volumes, or those of each one, (B, views, 4, 3) float64."""
        return self.views

    def _tone(self, images: torch.Tensor) -> torch.Tensor:
        return images


class RandRayCastDRR(RayCastDRR, Randomizable):
    """`RayCastDRR` with views and tone that vary from image to image, as those of real examinations do.

    Every view of every volume is drawn by itself, evenly within plus and minus the given amounts. Nothing is mirrored.

    Args:
        grid: see `RayCastDRR`, as the next six.
        geometry: see `RayCastDRR`.
        curve: see `RayCastDRR`.
        film: see `RayCastDRR`.
        detector_shape: see `RayCastDRR`.
        device: see `RayCastDRR`.
        views: see `RayCastDRR`.
        sdd: of the source-detector distance in mm.
        sod: of the source-isocentre distance in mm.
        angle: turn of the patient about the long axis in degrees.
        tilt: of the beam to the head or the feet in degrees.
        shift: of the beam across the patient in mm, along columns and rows.
        tone: of the logarithm of the gamma that the film is raised to.

    Raises:
        InputError: where an amount is negative.
    """

    def __init__(
        self,
        grid: VolumeGrid,
        geometry: str | Sequence[Beam] = "x2ct",
        curve: str = "plastimatch",
        film: str = "x2ct",
        detector_shape: Sequence[int] = (128, 128),
        device: str | torch.device | None = None,
        views: Sequence[str] = tuple(View),
        sdd: float = 0.0,
        sod: float = 0.0,
        angle: float = 0.0,
        tilt: float = 0.0,
        shift: float = 0.0,
        tone: float = 0.0,
    ) -> None:
        super().__init__(grid, geometry, curve, film, detector_shape, device, views)
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
        self._drawn: dict[str, torch.Tensor] = {}

    def randomize(self, data: int) -> None:
        """Draw for a number of volumes: (B, views) of each amount."""
        shape = (data, len(self.views))
        self._drawn = {name: torch.from_numpy(self.R.uniform(-a, a, shape)) for name, a in self.amounts.items()}

    def _views(self, batch: int) -> torch.Tensor:
        self.randomize(batch)
        moves = {name: drawn for name, drawn in self._drawn.items() if name != "tone"}
        exact = geometry_tensor(self.views, torch.float64).expand(batch, -1, -1, -1)
        return perturb_geometry(exact, **moves)

    def _tone(self, images: torch.Tensor) -> torch.Tensor:
        gamma = torch.exp(self._drawn["tone"]).to(images)[..., None, None]
        return images.clamp(min=0) ** gamma


SCALE_TOLERANCE = 1.25
"""A volume's spacing may differ from its grid's by this factor, since augmentation scales patients."""


def _check_axes(affine: np.ndarray, grid: VolumeGrid) -> None:
    """Refuse a volume whose axes do not run to the feet, the back and the left in the grid's steps.

    A small rotation passes, and a small scale.
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
    """Dictionary-based `RayCastDRR`: the volume under the key stays, its radiographs appear under `image_key`."""

    def __init__(
        self,
        keys: KeysCollection,
        grid: VolumeGrid,
        geometry: str | Sequence[Beam] = "x2ct",
        curve: str = "plastimatch",
        film: str = "x2ct",
        detector_shape: Sequence[int] = (128, 128),
        device: str | torch.device | None = None,
        views: Sequence[str] = tuple(View),
        image_key: str = Keys.IMAGE,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = RayCastDRR(grid, geometry, curve, film, detector_shape, device, views)
        self.image_key = image_key
        _one_key(self)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Render the volume under the key."""
        item = dict(data)
        for key in self.key_iterator(item):
            item[self.image_key] = self.transform(item[key])
        return item


class RandRayCastDRRd(MapTransform, Randomizable):
    """Dictionary-based `RandRayCastDRR`; the views actually used appear under `geometry_key`, (views, 4, 3)."""

    def __init__(
        self,
        keys: KeysCollection,
        grid: VolumeGrid,
        geometry: str | Sequence[Beam] = "x2ct",
        curve: str = "plastimatch",
        film: str = "x2ct",
        detector_shape: Sequence[int] = (128, 128),
        device: str | torch.device | None = None,
        views: Sequence[str] = tuple(View),
        sdd: float = 0.0,
        sod: float = 0.0,
        angle: float = 0.0,
        tilt: float = 0.0,
        shift: float = 0.0,
        tone: float = 0.0,
        image_key: str = Keys.IMAGE,
        geometry_key: str = Keys.GEOMETRY,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = RandRayCastDRR(
            grid, geometry, curve, film, detector_shape, device, views, sdd, sod, angle, tilt, shift, tone
        )
        self.image_key = image_key
        self.geometry_key = geometry_key
        _one_key(self)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandRayCastDRRd:
        """Seed the transform."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Render the volume under the key."""
        item = dict(data)
        for key in self.key_iterator(item):
            image = self.transform(item[key])
            item[self.image_key] = image
            item[self.geometry_key] = image.meta["geometry"]
        return item


def _one_key(transform: MapTransform) -> None:
    if len(transform.keys) != 1:
        raise InputError(f"{type(transform).__name__} renders one volume under one key, got {transform.keys}")
