"""Write a generator as a .pt2 file, PyTorch's own exported program, and read one."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conventions import InputError

from .export_check import BATCHES, write_checked

RECORD = "record.json"
"""Name of the entries in the file."""


def write_pt2(
    network: nn.Module, path: str | os.PathLike[str], image_shape: Sequence[int], metadata: Mapping[str, Any]
) -> tuple[float, float]:
    """Write a generator as an exported program: image (batch, views, S, S) -> volume (batch, 1, D, H, W).

    Where there is PyTorch, `torch.export.load(path).module()` runs it without the packages of this project.

    Args:
        network: the generator, on the CPU; put into evaluation mode.
        path: file to write; a file of an earlier run is renamed, not overwritten.
        image_shape: (views, S, S) of its input.
        metadata: entries written into the file as JSON.

    Returns:
        Largest difference from the network on random images, and the largest absolute value of those volumes.

    Raises:
        InputError: where the program does not compute what the network does; nothing is written.
    """

    def convert(part: Path) -> None:
        example = torch.rand(max(BATCHES), *image_shape)  # a batch of one would be taken for a constant
        program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
        with part.open("wb") as file:
            torch.export.save(program, file, extra_files={RECORD: json.dumps(dict(metadata))})

    return write_checked(network, path, image_shape, convert, read_pt2, "torch.export")


def read_pt2(path: str | os.PathLike[str]) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
    """Open an exported program of a generator.

    Args:
        path: file that `write_pt2` wrote.

    Returns:
        What runs it, image (B, views, S, S) -> volume (B, 1, D, H, W), and the entries written into it.

    Raises:
        InputError: where PyTorch cannot read the file.
    """
    extra = {RECORD: ""}
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of details of its own format
            module = torch.export.load(file, extra_files=extra).module()
        entries = json.loads(extra[RECORD])
    except Exception as error:  # the archive, its graph or its record may be damaged in many ways
        raise InputError(
            f"PyTorch {torch.__version__} cannot read it as an exported program; export it again with this version"
        ) from error
    return lambda image: module(image), entries  # no module, since one of another may be put into training mode
