"""Estimate the memory of a training step."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from monai.data import MetaTensor

from engines import bare

WEIGHT_BYTES = 16
"""Bytes for each parameter in training: itself, its gradient and two moments of Adam, in float32."""


def expected_bytes(trainer: Any, batch: Mapping[str, Any]) -> int:
    """Estimate the memory that a step needs in float32: weights, gradients, moments, and what the backward pass keeps.

    It is counted on torch's meta device, on which nothing is computed.

    Args:
        trainer: an `X2CTTrainer`.
        batch: a batch of its loader.
    """
    prepared = trainer.prepare_batch(batch, torch.device("meta"), False, **trainer.to_kwargs)
    image, (args, kwargs) = prepared[0], prepared[2:] or ((), {})
    image = image.as_tensor() if isinstance(image, MetaTensor) else image
    network = copy.deepcopy(bare(trainer.network)).to("meta")
    weights, kept = count_parameters(network), {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        volume = network(image, *args, **kwargs)
        if trainer.adversary is not None:
            judge = copy.deepcopy(bare(trainer.adversary.discriminator)).to("meta")
            weights += count_parameters(judge)
            shown = trainer.adversary.seen(image, volume)[0]
            judge.requires_grad_(False)(shown)
    return WEIGHT_BYTES * weights + sum(kept.values())


def count_parameters(network: torch.nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(p.numel() for p in network.parameters())
