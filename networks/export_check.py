"""Run a file that was exported of a generator against the generator itself, before it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conventions import InputError
from storage import set_aside, write_atomically

BATCHES = (1, 2)
"""Batch sizes with which an exported file is tested; its batch axis is free."""

TOLERANCE = 1e-4
"""Largest difference from PyTorch in unit values, relative to the largest value if that is above 1."""


def write_checked(
    network: nn.Module,
    path: str | os.PathLike[str],
    image_shape: Sequence[int],
    convert: Callable[[Path], None],
    read: Callable[[Path], tuple[Callable[[Tensor], Tensor], Any]],
    runtime: str,
) -> tuple[float, float]:
    """Write a generator in another form, and keep the file only if it runs like PyTorch.

    Args:
        network: the generator, on the CPU; put into evaluation mode.
        path: file to write; a file of an earlier run is renamed, not overwritten.
        image_shape: (views, S, S).
        convert: function that writes the file.
        read: function that returns what runs it, and anything else.
        runtime: what runs the file, for the message.

    Returns:
        As in `compare`.

    Raises:
        InputError: where the file does not compute what the network does; nothing is written.
    """
    network.eval()
    measured = (0.0, 0.0)

    def write(part: Path) -> None:
        nonlocal measured
        convert(part)
        try:
            measured = compare(network, read(part)[0], image_shape, runtime)
        except InputError as error:
            raise InputError(f"{path}: not written: {error}") from error
        set_aside(path)  # only now that there is a file to replace it

    with torch.no_grad():
        write_atomically(path, write)
    return measured


def compare(
    network: nn.Module, run: Callable[[Tensor], Tensor], image_shape: Sequence[int], runtime: str
) -> tuple[float, float]:
    """Run a file and PyTorch on random images, and refuse a file whose results differ.

    Args:
        network: the generator, on the CPU and in evaluation mode.
        run: the file: `image` (B, views, S, S) -> `pred` (B, 1, D, H, W).
        image_shape: (views, S, S).
        runtime: what runs the file, for the message.

    Returns:
        Largest difference, and the largest absolute value of the volumes.

    Raises:
        InputError: where they differ by more than rounding.
    """
    measured = []
    for batch in BATCHES:
        image = torch.rand(batch, *image_shape, generator=torch.Generator().manual_seed(batch))
        found, expected = run(image), network(image)
        difference, highest = (found - expected).abs().max().item(), expected.abs().max().item()
        close = difference <= TOLERANCE * max(1.0, highest)
        # A network that magnifies rounding, as untrained ones do, cannot agree better than with itself.
        if not close and not difference <= _effect_of_16_bit(network, image, expected):
            raise InputError(
                f"{runtime} differs from PyTorch by {difference:.2g} at batch {batch}; install the versions of "
                "constraints.txt, or use TorchScript (python -m monai.bundle ckpt_export)"
            )
        measured.append((difference, highest))
    differences, heights = zip(*measured, strict=True)
    return max(differences), max(heights)


def _effect_of_16_bit(network: nn.Module, image: Tensor, expected: Tensor) -> float:
    """Return the largest change of the volume if the radiographs are stored with 16 bits, as in files."""
    stored = (image * 65535).round() / 65535
    return (network(stored) - expected).abs().max().item()
