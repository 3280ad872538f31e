"""Run a generator by another runtime: a file that was exported of it, in place of the network."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import torch
from monai.utils import convert_data_type, convert_to_dst_type
from torch import Tensor, nn

from conventions import InputError
from storage import digest_of

from .onnx_export import read_onnx
from .pt2_export import read_pt2
from .x2ct import VolumeGenerator


class Backend(StrEnum):
    """What computes a prediction."""

    TORCH = "torch"
    """The network itself."""
    ONNX = "onnx"
    """ONNX Runtime, from the file NAME.onnx next to the weights NAME.pt."""
    PT2 = "pt2"
    """PyTorch's exported program, from the file NAME.pt2 next to them."""


_READ = {Backend.ONNX: read_onnx, Backend.PT2: read_pt2}

GEOMETRY_TOLERANCE = 1e-2
"""Largest difference in mm between views and those that an exported file was made for."""


def with_backend(network: nn.Module, backend: str, checkpoint: str | os.PathLike[str]) -> nn.Module:
    """Return what computes the predictions of a network.

    Args:
        network: the generator with its weights.
        backend: a `Backend`.
        checkpoint: file of the weights, next to which the exported file lies.

    Returns:
        The network itself, or one that runs its file on the CPU.

    Raises:
        InputError: where there is no such backend, or the file is missing, damaged or not of these weights.
    """
    if backend not in tuple(Backend):
        raise InputError(f"backend is {backend!r}; choose one of {', '.join(Backend)}")
    if backend == Backend.TORCH:
        return network
    if not isinstance(network, VolumeGenerator):
        raise InputError(f"{checkpoint}: makes no volume, so no backend but torch runs it; leave --backend out")
    file = Path(checkpoint).with_suffix(f".{backend}")
    command = f"python -m networks export-{backend} {checkpoint} {file}"
    if not file.is_file():
        raise InputError(f"{file}: there is no such file, which --backend {backend} needs; make it by: {command}")
    try:
        run, entries = _READ[Backend(backend)](file)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    if entries.get("sha256") != digest_of(checkpoint):
        raise InputError(
            f"{file}: was exported of other weights than {checkpoint}; set it aside, and make it by: {command}"
        )
    return ExportedNetwork(run, network)


class ExportedNetwork(VolumeGenerator):
    """A generator that runs from an exported file, on the CPU.

    Args:
        run: the file: radiographs (B, views, S, S) -> volumes (B, 1, D, H, W).
        network: the network that it was exported of.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], network: VolumeGenerator) -> None:
        super().__init__(network.image_size, network.views)
        self.run = run
        self.preset_geometry = getattr(network, "preset_geometry", None)

    def forward(self, image: Tensor, geometry: Tensor | None = None) -> Tensor:
        """Predict as the network does.

        Args:
            image: radiographs (B, views, S, S) in [0, 1].
            geometry: views (B or 1, views, 4, 3) in mm, LPS; those of the acquisition, which the file holds.

        Returns:
            Unit volumes (B, 1, D, H, W), on the device of the image.

        Raises:
            InputError: where the number of views or their geometry is not what the file was exported for.
        """
        if image.shape[1:] != (self.views, self.image_size, self.image_size):
            raise InputError(
                f"an exported file takes {self.views} radiographs of {self.image_size} x {self.image_size} pixels, got "
                f"{tuple(image.shape[1:])}; use --backend torch"
            )
        if geometry is not None and self.preset_geometry is not None:
            off = (geometry.cpu() - self.preset_geometry.cpu()).abs().max().item()
            if not off <= GEOMETRY_TOLERANCE:
                raise InputError(
                    f"the views lie up to {off:.3g} mm from those that the file was exported for; use --backend torch"
                )
        volume = self.run(convert_data_type(image, Tensor, device="cpu", dtype=torch.float32)[0])
        return convert_to_dst_type(volume, image)[0]  # a MetaTensor where the image is one, as networks return it
