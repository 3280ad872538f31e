"""The sanity baseline: a plain 3-D U-Net on radiographs repeated along their rays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
from monai.networks.nets import UNet
from torch import Tensor

from conventions import VIEW_TO_VOLUME, InputError, View, expand_views

from .x2ct import ACTIVATIONS, VolumeGenerator, check_image, check_size_and_activation


class ReplicateUNet(VolumeGenerator):
    """Each view repeated along its ray axis, then a 3-D U-Net of MONAI: nothing else, 1.2 M parameters.

    In a small trial at 64^3 it was ahead of the X2CT generator at equal CPU time, so every comparison includes it.

    Args:
        image_size: side S of the radiographs and of the volume; a multiple of 32 from 64 up.
        views: 2 for PA and lateral, 1 for PA alone.
        channels: channels of the U-Net, finest level first.
        activation: activation after the last convolution: linear, relu, softplus, sigmoid or tanh.

    Raises:
        InputError: where an argument is not one of the above.
    """

    def __init__(
        self,
        image_size: int = 128,
        views: int = 2,
        channels: Sequence[int] = (16, 32, 64, 128),
        activation: str = "linear",
    ) -> None:
        super().__init__(image_size, views)
        check_size_and_activation(image_size, activation)
        if views not in (1, 2):
            raise InputError(f"views is {views}; give 1 (PA) or 2 (PA and lateral)")
        self.to_volume = [list(VIEW_TO_VOLUME[view]) for view in list(View)[:views]]
        self.unet = UNet(
            spatial_dims=3,
            in_channels=views,
            out_channels=1,
            channels=channels,
            strides=(2,) * (len(channels) - 1),
            num_res_units=2,
            norm="instance",
        )
        self.activation = ACTIVATIONS[activation]()

    def forward(self, image: Tensor, geometry: Optional[Tensor] = None) -> Tensor:  # noqa: UP045 (TorchScript)
        """Reconstruct the volume.

        Args:
            image: radiographs (B, views, S, S) in [0, 1], bright = dense; view 0 = PA, view 1 = lateral.
            geometry: views (B, views, 4, 3) in mm, LPS; ignored.

        Returns:
            Unit volume (B, 1, D, H, W), D = H = W = S.

        Raises:
            InputError: where the image has another shape (not checked in TorchScript).
        """
        if not torch.jit.is_scripting() and not torch.jit.is_tracing():
            check_image(image, self.image_size, self.views)
        return self.activation(self.unet(expand_views(image, self.image_size, self.to_volume)))
