"""One network in a process of its own, ours or the authors'. `benchmarks.networks` starts it and asks it.

The authors' code is imported from the checkout that the user names; it needs nothing but its folder on the path.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import statistics
import sys
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

from conventions import VIEW_TO_VOLUME, VOLUME_TO_VIEW, View
from networks import build_network, to_official
from networks.convert import DEAD_BUFFERS

LEAST_SECONDS = 0.1
"""A turn repeats a call until this much time has passed and keeps the median, so that short calls are steady too."""


@dataclass(frozen=True)
class Case:
    """What both sides run."""

    device: str
    network: str
    size: int
    mode: str
    batch: int


@dataclass(frozen=True)
class Kind:
    """How one of our networks is built and fed, and what the authors have in its place."""

    channels: int
    """Of the input: radiographs, or radiographs and volume."""
    dims: int
    """Of the input, without batch and channels."""
    arguments: Callable[[int], dict[str, Any]]
    """For `build_network`, at a size."""
    theirs: Callable[[Any, int], nn.Module]
    """The authors' network, from their factory and at a size."""
    forward: Callable[[nn.Module, Tensor], Tensor]
    """The authors' network on our input, its result in our layout."""


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
    """What the first call of a fresh process gave and took."""

    output: np.ndarray
    gradient_norm: float
    """Of all weights together; 0 in a forward pass."""
    before: int
    """Bytes before the call: the process with its weights, or what is allocated on the GPU."""
    peak: int


@dataclass(frozen=True)
class Counts:
    """What a network is made of and what a call computes."""

    parameters: int
    multiply_adds: int


class Subject:
    """A network with its input.

    Args:
        case: what to run.
        official: the authors' checkout, or None for our network.
    """

    def __init__(self, case: Case, official: Path | None) -> None:
        self.case, self.official, self.kind = case, official, KINDS[case.network]
        torch.backends.cudnn.allow_tf32 = False
        torch.manual_seed(0)
        self.network = self._build().to(case.device)
        torch.manual_seed(1)  # the authors' code has drawn more by now
        size = (case.size,) * self.kind.dims
        self.input = torch.rand(case.batch, self.kind.channels, *size).to(case.device)

    def _build(self) -> nn.Module:
        """The network, with the same weights on either side."""
        network = build_network(self.case.network, **self.kind.arguments(self.case.size))
        if self.official is not None:
            state = to_official(network.state_dict(), network)
            folder = str(self.official / "3DGAN")
            if folder not in sys.path:
                sys.path.insert(0, folder)
            import lib.model.nets.factory as factory

            with contextlib.redirect_stdout(None):
                network = self.kind.theirs(factory, self.case.size)
            found = network.load_state_dict(state, strict=False)
            assert not found.unexpected_keys
            assert all(key.endswith(DEAD_BUFFERS) for key in found.missing_keys)
        network.train(self.case.mode != "forward")
        for module in network.modules():
            if isinstance(module, (nn.InstanceNorm2d, nn.InstanceNorm3d)):
                module.train()  # as the authors test: by the image's own statistics, not the running ones
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
        """The first call, which warms up, gives the output to compare, and takes its memory."""
        torch.manual_seed(2)  # both sides drop the same values in training
        before = self._forget_peak()
        output = self._call(self.network, self.input)
        peak = self._peak()
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
        return First(output.cpu().numpy(), norm, before, peak)

    def turn(self) -> float:
        """Seconds of a call."""
        seconds: list[float] = []
        while sum(seconds) < LEAST_SECONDS:
            start = time.perf_counter()
            self._call(self.network, self.input)
            if self.case.device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    def counts(self) -> Counts:
        """Parameters and multiply-adds of a call, counted without computing."""
        with torch.device("meta"):
            network = self._build()
        with FlopCounterMode(display=False) as counter:
            self._call(network, self.input.to("meta"))
        return Counts(sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)

    def _forget_peak(self) -> int:
        """Bytes in use now; the peak counts from here."""
        gc.collect()
        if self.case.device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return torch.cuda.memory_allocated()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to the present size
        return _resident_bytes("VmRSS")

    def _peak(self) -> int:
        return torch.cuda.max_memory_allocated() if self.case.device == "cuda" else _resident_bytes("VmHWM")


def _resident_bytes(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


_subjects: list[Subject] = []
"""The one of this process."""


def load(case: Case, official: Path | None) -> None:
    """Make this process's subject."""
    Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, end this process and not another
    _subjects[:] = [Subject(case, official)]


def ask(method: str) -> Any:
    """Call a method of the subject."""
    return getattr(_subjects[0], method)()
