"""Run one network, ours or the authors', in a process of its own for `benchmarks.networks`."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import forget_peak, peak_bytes
from benchmarks.official import load_our_weights, put_on_path
from conventions import VIEW_TO_VOLUME, VOLUME_TO_VIEW, View
from networks import build_network

LEAST_SECONDS = 0.1
"""Smallest duration of a turn, which repeats a call and keeps the median, so that short calls are steady too."""


@dataclass(frozen=True)
class Case:
    """The case that both sides run."""

    device: str
    network: str
    size: int
    mode: str
    batch: int


@dataclass(frozen=True)
class Kind:
    """Construction and input of one of our networks, and its counterpart in the authors' code."""

    channels: int
    """Channels of the input: radiographs, or radiographs and volume."""
    dims: int
    """Dimensions of the input without batch and channels."""
    arguments: Callable[[int], dict[str, Any]]
    """Arguments for `build_network`, from the size."""
    theirs: Callable[[Any, int], nn.Module]
    """The authors' network, from their factory and the size."""
    forward: Callable[[nn.Module, Tensor], Tensor]
    """Run the authors' network on our input, with the result in our layout."""


def _their_generator(name: str, factory: Any, size: int) -> nn.Module:
    unused = dict.fromkeys(("noise_len", "input_shape", "output_shape", "input_nc", "ngf", "n_downsampling"))
    orders = SimpleNamespace(CTOrder_Xray1=VOLUME_TO_VIEW[View.PA], CTOrder_Xray2=VOLUME_TO_VIEW[View.LATERAL])
    norms = {"norm": "instance3d", "encoder_norm": "instance"}
    shape = {"output_nc": 1, "encoder_input_shape": (size, size)}
    return factory.define_3DG(**unused, which_model_netG=name, **norms, **shape, opt=orders)


def _their_discriminator(factory: Any, size: int) -> nn.Module:
    return factory.define_D(input_nc=3, ndf=64, which_model_netD="basic3d", norm="instance3d")


KINDS = {
    "x2ct_biplanar": Kind(
        channels=2,
        dims=2,
        arguments=lambda size: {"image_size": size},
        theirs=partial(_their_generator, "multiview_network_denseUNetFuse_transposed"),
        forward=lambda network, image: network([image[:, :1], image[:, 1:]])[2],
    ),
    "x2ct_single_view": Kind(
        channels=1,
        dims=2,
        arguments=lambda size: {"image_size": size},
        theirs=partial(_their_generator, "singleview_network_denseUNet_transposed"),
        forward=lambda network, image: network(image).permute(VIEW_TO_VOLUME[View.PA]),
    ),
    "patchgan_3d": Kind(
        channels=3,
        dims=3,
        arguments=lambda size: {},
        theirs=_their_discriminator,
        forward=lambda network, volume: network(volume)[-1],
    ),
}


@dataclass(frozen=True)
class First:
    """Result and memory of the first call of a new process."""

    output: np.ndarray
    gradient_norm: float
    """Norm of all gradients together; 0 in a forward pass."""
    before: int
    """Bytes before the call: the process with its weights, or the allocated memory of the GPU."""
    peak: int


@dataclass(frozen=True)
class Counts:
    """Parameters of a network and multiply-adds of a call."""

    parameters: int
    multiply_adds: int


class Subject:
    """A network with its input.

    Args:
        case: the case.
        official: the authors' checkout; None is our network.
    """

    def __init__(self, case: Case, official: Path | None) -> None:
        self.case, self.official, self.kind = case, official, KINDS[case.network]
        torch.backends.cudnn.allow_tf32 = False
        torch.manual_seed(0)
        self.network = self._build().to(case.device)
        torch.manual_seed(1)  # the authors' code has drawn more random numbers by now
        size = (case.size,) * self.kind.dims
        self.input = torch.rand(case.batch, self.kind.channels, *size).to(case.device)

    def _build(self) -> nn.Module:
        """Build the network, with the same weights on both sides."""
        network = build_network(self.case.network, **self.kind.arguments(self.case.size))
        if self.official is not None:
            put_on_path(self.official)
            import lib.model.nets.factory as factory

            ours = network
            with contextlib.redirect_stdout(None):
                network = self.kind.theirs(factory, self.case.size)
            load_our_weights(network, ours)
        network.train(self.case.mode != "forward")
        for module in network.modules():
            if isinstance(module, (nn.InstanceNorm2d, nn.InstanceNorm3d)):
                module.train()  # as the authors test: statistics of the image itself, not running ones
        return network

    def _call(self, network: nn.Module, x: Tensor) -> Tensor:
        forward = self.kind.forward if self.official is not None else nn.Module.__call__
        if self.case.mode == "forward":
            with torch.no_grad():
                return forward(network, x)
        network.zero_grad()
        output = forward(network, x)
        output.mean().backward()
        return output.detach()

    def first(self) -> First:
        """Run the first call, which warms up, and keep its output and its memory."""
        torch.manual_seed(2)  # so that both sides drop the same values in training
        before = forget_peak(self.case.device)
        output = self._call(self.network, self.input)
        peak = peak_bytes(self.case.device)
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
        return First(output.cpu().numpy(), norm, before, peak)

    def turn(self) -> float:
        """Return the seconds of a call."""
        seconds: list[float] = []
        while sum(seconds) < LEAST_SECONDS:
            start = time.perf_counter()
            self._call(self.network, self.input)
            if self.case.device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def counts(self) -> Counts:
        """Count parameters, and the multiply-adds of a call without computing it."""
        with torch.device("meta"):
            network = self._build()
        with FlopCounterMode(display=False) as counter:
            self._call(network, self.input.to("meta"))
        return Counts(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)
