"""The networks by name."""

from __future__ import annotations

import inspect
from typing import Any

from monai.utils import ComponentStore
from torch import nn

from conventions import InputError

from .patchgan import PatchDiscriminator3D
from .x2ct import X2CTGenerator

NETWORKS = ComponentStore("networks", "Generators and discriminators that `build_network` makes by name.")
"""The networks by name, each a class with a one-line description."""

NETWORKS.add("x2ct_biplanar", "X2CT-GAN generator: a volume from a PA and a lateral radiograph.", X2CTGenerator)
NETWORKS.add("patchgan_3d", "X2CT-GAN discriminator: scores 3-D patches of a volume.", PatchDiscriminator3D)


def build_network(name: str, **overrides: Any) -> nn.Module:
    """Make a network by its name.

    Args:
        name: one of `NETWORKS.names`.
        **overrides: arguments of the network that differ from its defaults (the paper's).

    Returns:
        The network, freshly initialised. Its attribute `spec` is what a checkpoint needs to make it again, ready for
        JSON: `{"name": name, "arguments": {every argument of the network: its value}}`.

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
