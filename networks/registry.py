"""Registry of the networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from monai.utils import ComponentStore
from torch import nn

from conventions import InputError

from .cnn2d import CNN2D
from .patchgan import MultiScaleDiscriminator, PatchDiscriminator2D, PatchDiscriminator3D
from .pix2pix import PixelDiscriminator, UnetGenerator
from .raylift import RayLift
from .resnet import ResnetGenerator
from .unet import ReplicateUNet
from .x2ct import SingleViewGenerator, X2CTGenerator

NETWORKS = ComponentStore("networks", "Generators and discriminators that `build_network` makes by name.")
"""All networks by name, each with a one-line description."""

_MADE_BY: dict[str, tuple[str, Callable[..., nn.Module]]] = {
    "x2ct_biplanar": ("X2CT-GAN generator from a PA and a lateral radiograph, as shipped.", X2CTGenerator),
    "x2ct_biplanar_no_fuse": (
        'Ablation of Connection-C: the mean joins the main decoder but replaces no view ("NoFuse").',
        partial(X2CTGenerator, connection_c="mean"),
    ),
    "x2ct_biplanar_without_b": (
        "Ablation without Connection-B: no 2-D map reaches the 3-D decoders.",
        partial(X2CTGenerator, connection_b=False),
    ),
    "x2ct_biplanar_without_c": (
        "Ablation without Connection-C: the volume depends on the coarsest features alone.",
        partial(X2CTGenerator, connection_c="none"),
    ),
    "x2ct_biplanar_without_b_and_c": (
        "Ablation without Connections B and C.",
        partial(X2CTGenerator, connection_b=False, connection_c="none"),
    ),
    "x2ct_single_view": ("X2CT-GAN generator from a PA radiograph alone.", SingleViewGenerator),
    "x2ct_single_view_without_b": (
        "Single-view ablation without Connection-B.",
        partial(SingleViewGenerator, connection_b=False),
    ),
    "cnn2d": ("2DCNN baseline of the paper: slices as channels, from a radiograph of twice the size.", CNN2D),
    "replicate_unet": ("Sanity baseline: views repeated along their rays, then a 3-D U-Net.", ReplicateUNet),
    "raylift": (
        "From one to eight radiographs and their geometry, features lifted along true rays; for a CPU.",
        RayLift,
    ),
    "raylift_base": (
        "The same, wider, for a GPU of 12 GB.",
        partial(
            RayLift,
            encoder_channels=(32, 64, 128, 192, 256),
            unet_channels=(96, 192, 384),
            head_channels=(32, 16),
            lift_channels=(64, 16, 8),
        ),
    ),
    "patchgan_3d": ("X2CT-GAN discriminator: scores 3-D patches of a volume.", PatchDiscriminator3D),
    "patchgan_3d_multi_scale": ("The same at three scales.", MultiScaleDiscriminator),
    "patchgan_2d": ("Scores patches of projections; in the authors' code, not in the paper.", PatchDiscriminator2D),
    "patchgan_2d_multi_scale": ("The same at three scales.", partial(MultiScaleDiscriminator, spatial_dims=2)),
    "resnet_9blocks": ("CycleGAN generator: turns a film into another style, from 256 pixels up.", ResnetGenerator),
    "resnet_6blocks": ("The same for 128 pixels.", partial(ResnetGenerator, blocks=6)),
    "patchgan_70": (
        "CycleGAN discriminator: scores patches of 70 x 70 pixels of a film.",
        partial(PatchDiscriminator2D, padding=1),
    ),
    "unet_128": ("pix2pix generator, which CycleGAN's code offers too, for 128 pixels.", UnetGenerator),
    "unet_256": ("The same for 256 pixels.", partial(UnetGenerator, halvings=8)),
    "pixelgan": ("pix2pix discriminator of single pixels: tones, no texture.", PixelDiscriminator),
}

for _name, (_description, _maker) in _MADE_BY.items():
    NETWORKS.add(_name, _description, _maker)


def takes_any_views(name: str) -> bool:
    """Return whether a network takes any number of views where their geometry is given."""
    if name not in NETWORKS:
        return False
    made_by = NETWORKS[name]
    return getattr(made_by, "func", made_by) is RayLift


def build_network(name: str, **overrides: Any) -> nn.Module:
    """Build a network by name.

    Args:
        name: one of `NETWORKS.names`.
        **overrides: arguments of the network that differ from its defaults, which are the paper's.

    Returns:
        The network, freshly initialised. Its attribute `spec` holds what is needed to build it again, ready for JSON:
        `{"name": name, "arguments": {every argument of the network: its value}}`.

    Raises:
        InputError: where the name or an argument is unknown, or the network refuses a value.
    """
    if name not in NETWORKS:
        raise InputError(f"unknown network {name!r}: choose one of {', '.join(NETWORKS.names)}")
    network_class = NETWORKS[name]
    signature = inspect.signature(network_class)
    unknown = [argument for argument in overrides if argument not in signature.parameters]
    if unknown:
        raise InputError(
            f"network {name} has no argument {', '.join(unknown)}; it takes {', '.join(signature.parameters)}"
        )
    arguments = signature.bind(**overrides)
    arguments.apply_defaults()
    network = network_class(**arguments.arguments)
    network.spec = {
        "name": name,
        "arguments": {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.arguments.items()},
    }
    return network
