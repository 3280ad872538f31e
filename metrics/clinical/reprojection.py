"""Compare the radiographs of a predicted volume with those of the true one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from drr import Beam, VolumeGrid, hu_to_mu, project


def reprojection_error(
    prediction_hu: torch.Tensor,
    target_hu: torch.Tensor,
    grid: VolumeGrid,
    views: Sequence[Beam] | torch.Tensor,
    curve: str = "water",
    detector_shape: Sequence[int] | None = None,
) -> torch.Tensor:
    """Compute how far the line integrals of a prediction lie from those of the truth, view by view.

    Small errors in the views that the network was shown say little, since a network can fit them with a wrong volume;
    a view that it was not shown says more.

    Args:
        prediction_hu: (B, 1, D, H, W) HU.
        target_hu: (B, 1, D, H, W) HU.
        grid: grid of both.
        views: views as in `drr.project`.
        curve: HU -> mu curve, a key of `drr.CURVES`.
        detector_shape: (rows, columns); needed with a geometry tensor only.

    Returns:
        (B, views): the root mean square difference of line integrals over the detector, as a share of the root mean
        square of the true ones.
    """
    found, true = (
        project(hu_to_mu(volume.float(), curve), grid, views, detector_shape=detector_shape)
        for volume in (prediction_hu, target_hu)
    )
    return ((found - true).square().mean((2, 3)) / true.square().mean((2, 3)).clamp(min=1e-12)).sqrt()
