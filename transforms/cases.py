"""Chain the transforms from a CT to a training pair, and from films to what a model reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from monai.transforms import Compose, ScaleIntensityd, SelectItemsd
from torch import nn

from conventions import HU_WINDOW, Keys
from drr import Acquisition

from .agreement import AgreeWithFilmsd
from .field_of_view import MatchFieldOfViewd
from .hounsfield import HUWindowd, UnitToHUd
from .radiograph import ReadRadiographd
from .raycast import RayCastDRRd
from .served import DescribeResultd
from .style import StyleTransferd
from .volume import ReadVolumed, ResampleToGridd


def case_transforms(
    acquisition: Acquisition,
    window: Sequence[float] = HU_WINDOW,
    device: str | torch.device | None = None,
    augmentation: Sequence[Callable[..., Any]] = (),
    ray_cast: Callable[..., Any] | None = None,
    film_augmentation: Sequence[Callable[..., Any]] = (),
    keep: Sequence[str] = (),
) -> Compose:
    """Return the transforms that turn the path of a CT into its radiographs and its unit volume.

    In this order: `ReadVolumed`, `ResampleToGridd`, the augmentation of the CT in HU, ray casting before windowing, the
    augmentation of the radiographs, `HUWindowd`.

    Args:
        acquisition: how the radiographs are made.
        window: (low, high) in HU that becomes [0, 1].
        device: where to render; None is where the volume lies.
        augmentation: dictionary transforms of `label`, (1, D, H, W) in HU on the grid.
        ray_cast: makes `image` and `geometry` of `label`; by default `RayCastDRRd`.
        film_augmentation: dictionary transforms of `image`, (views, rows, columns) in [0, 1].
        keep: keys to keep where the volume is not needed; the others are dropped in place of windowing.

    Returns:
        Transforms of an item whose `label` is a path. Afterwards `label` is (1, D, H, W) in unit values, `image`
        (views, rows, columns) in [0, 1] and `geometry` (views, 4, 3) in mm, LPS.
    """
    key = Keys.LABEL.value
    return Compose(
        [
            ReadVolumed(key),
            ResampleToGridd(key, acquisition),
            *augmentation,
            RayCastDRRd(key, acquisition, device) if ray_cast is None else ray_cast,
            *film_augmentation,
            SelectItemsd(list(keep)) if keep else HUWindowd(key, window),
        ]
    )


def prediction_transforms(
    window: Sequence[float] = HU_WINDOW, update: Any = None, record: Mapping[str, Any] | None = None
) -> Compose:
    """Return the transforms of a predicted volume: `AgreeWithFilmsd`, `UnitToHUd` and `DescribeResultd`.

    Args:
        window: (low, high) in HU that was [0, 1].
        update: a `networks.ConsistencyUpdate`; None leaves volumes as they were predicted.
        record: what made the volumes, as `networks.describe_model` returns it; None neither rounds nor describes them,
            which measuring them does not need.

    Returns:
        Transforms of one item of an evaluator's output; every volume and expected error in it is in HU afterwards.
    """
    volumes = [Keys.PRED, Keys.WITHOUT_UPDATE, Keys.LABEL, Keys.MEAN_VOLUME, Keys.NEAREST_CASE, Keys.SHUFFLED_INPUT]
    agree = [] if update is None else [AgreeWithFilmsd(Keys.PRED.value, update)]
    to_hu = UnitToHUd([key.value for key in volumes], window, allow_missing_keys=True)
    width = float(window[1]) - float(window[0])
    # `factor` is what MONAI multiplies by less 1.
    error = ScaleIntensityd(Keys.EXPECTED_ERROR.value, None, None, factor=width - 1, allow_missing_keys=True)
    described = [] if record is None else [DescribeResultd(Keys.PRED.value, record)]
    return Compose([*agree, to_hu, error, *described])


def film_transforms(
    acquisition: Acquisition,
    mode: Literal["match", "given"] = "match",
    style: str = "none",
    translator: tuple[nn.Module, Mapping[str, Any]] | None = None,
    device: str | torch.device = "cpu",
    window: int = 0,
    invert: bool = False,
    without_preamble: bool = False,
    spacing: float | None = None,
) -> Compose:
    """Return the transforms that turn the paths of the films of one patient into what a model reads.

    In this order: `ReadRadiographd`, `MatchFieldOfViewd`, `StyleTransferd`. A translator of larger films than the
    model's reads them in its own size.

    Args:
        acquisition: what the model was trained for.
        mode: as in `MatchFieldOfView`.
        style: the method of `StyleTransfer`.
        translator: network and record of a learned style, as `networks.load` returns them.
        device: where the translator runs.
        window: as in `ReadRadiograph`, like the three that follow.
        invert: as in `ReadRadiograph`.
        without_preamble: as in `ReadRadiograph`.
        spacing: as in `ReadRadiograph`.

    Returns:
        Transforms of an item whose `image` is a list of paths, one a view. Afterwards `image` is (views, rows, columns)
        in [0, 1], `geometry` (views, 4, 3) in mm, LPS, and `films` holds what was decided (`readers.unpack_films`).
    """
    key, size = Keys.IMAGE.value, acquisition.detector_shape[0]
    network, record = translator or (None, None)
    shown = size
    if network is not None and record is not None:
        network = network.to(device)
        shown = max(size, int(record.get("acquisition", {}).get("detector_shape", [0])[0]))
    return Compose(
        [
            ReadRadiographd(key, acquisition.view_names, window, invert, without_preamble, spacing),
            MatchFieldOfViewd(key, acquisition, mode, shown),
            StyleTransferd(key, style, acquisition, network, record, size),
        ]
    )
