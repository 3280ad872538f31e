"""Train or evaluate in several processes together, one for each device."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import ignite.distributed as idist
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from conventions import InputError
from storage import check_run


def join_processes(device: str | torch.device) -> None:
    """Join the other processes that torchrun started: by NCCL if they compute on GPUs, by gloo if on CPUs.

    All processes but the first log warnings and errors alone. An existing group is used as it is.

    Args:
        device: device on which this process computes.

    Raises:
        InputError: where this process was not started by torchrun, its device is not available, or all processes would
            write one MLflow store.
    """
    if dist.is_initialized():
        return
    if not dist.is_torchelastic_launched():
        raise InputError(
            "a multi_gpu configuration needs several processes; start them with torchrun --nproc_per_node GPUS "
            "-m monai.bundle run ..., or leave it out"
        )
    if any(word.startswith("--tracking") for word in sys.argv):
        raise InputError("--tracking is for a single process, since each would write its own run; use TensorBoard here")
    device = torch.device(device)
    check_run(device, [])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    # Ignite, which MONAI's metrics use, synchronises all processes on its first use: now, while none is ahead. In a
    # SLURM job it takes SLURM's local rank, which is 0 in every process that torchrun started.
    os.environ["SLURM_LOCALID"] = os.environ["LOCAL_RANK"]
    idist.sync()
    if dist.get_rank() > 0:
        logging.getLogger("x2ct").setLevel(logging.WARNING)


def bare(module: Any) -> Any:
    """Return a network without the wrapper that exchanges its gradients; anything else as it is."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def call(network: nn.Module, method: str, *inputs: torch.Tensor, **named: torch.Tensor) -> Any:
    """Call a method of a network other than `forward` so that its gradients are exchanged as after `forward`.

    Args:
        network: bare, or in `DistributedDataParallel`, which only exchanges gradients after calls of `forward`.
        method: name of the method.
        inputs: arguments of the method.
        named: arguments of the method by name.
    """
    plain = bare(network)
    if plain is network:
        return getattr(plain, method)(*inputs, **named)
    plain.forward = getattr(plain, method)
    try:
        return network(*inputs, **named)
    finally:
        del plain.forward


def exchanging(network: nn.Module, wanted: bool) -> AbstractContextManager[None]:
    """Return the context of a forward and backward pass, in which gradients are exchanged only if wanted."""
    if isinstance(network, DistributedDataParallel) and not wanted:
        return network.no_sync()
    return nullcontext()
