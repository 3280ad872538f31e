"""Several processes that train or evaluate together, one a device."""

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

from conventions import InputError, check_run


def join_processes(device: str | torch.device) -> None:
    """Join the other processes that torchrun started: by NCCL where they compute on GPUs, by gloo where on CPUs.

    Of all but the first, what goes well is not logged. A group that is there already is used as it is.

    Args:
        device: where this process computes.

    Raises:
        InputError: where this process was not started by torchrun, its device is not there, or all would write one
            MLflow store.
    """
    if dist.is_initialized():
        return
    if not dist.is_torchelastic_launched():
        raise InputError(
            "a multi_gpu configuration is for several processes; start them with torchrun --nproc_per_node GPUS "
            "-m monai.bundle run ..., or leave it out"
        )
    if any(word.startswith("--tracking") for word in sys.argv):
        raise InputError("--tracking is for a single process, since each would write its own run; use TensorBoard here")
    device = torch.device(device)
    check_run(device, [])
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    # MONAI's metrics go through ignite, which asks all processes when it is first used: now, while none is ahead. In a
    # SLURM job it takes SLURM's local rank, which is 0 in all that torchrun started.
    os.environ["SLURM_LOCALID"] = os.environ["LOCAL_RANK"]
    idist.sync()
    if dist.get_rank() > 0:
        logging.getLogger("x2ct").setLevel(logging.WARNING)


def bare(module: Any) -> Any:
    """A network without the wrapper that exchanges its gradients; anything else as it is."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def call(network: nn.Module, method: str, *inputs: torch.Tensor) -> Any:
    """Call a method of a network other than `forward` so that its gradients are exchanged as after `forward`.

    Args:
        network: bare, or in `DistributedDataParallel`, which looks after calls of `forward` alone.
        method: name of the method.
        inputs: of the method.
    """
    plain = bare(network)
    if plain is network:
        return getattr(plain, method)(*inputs)
    plain.forward = getattr(plain, method)
    try:
        return network(*inputs)
    finally:
        del plain.forward


def exchanging(network: nn.Module, wanted: bool) -> AbstractContextManager[None]:
    """Where a network runs forward and back: leaves out the exchange of gradients until it is wanted."""
    if isinstance(network, DistributedDataParallel) and not wanted:
        return network.no_sync()
    return nullcontext()
