"""Import the X2CT authors' code, unchanged, from a checkout that the user names."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.report import cpu_name
from conventions import InputError
from networks import to_official
from networks.convert import DEAD_BUFFERS

LANDMARK = Path("3DGAN", "lib", "model", "nets", "factory.py")
"""File by which a checkout is recognised."""


def checked_checkout(official: Any) -> Path:
    """Return the absolute path of a checkout.

    Raises:
        InputError: where the folder is not a checkout.
    """
    checkout = Path(str(official)).absolute()
    if not (checkout / LANDMARK).is_file():
        raise InputError(
            f"{checkout}: is not a checkout of the authors' code ({LANDMARK} is not there); "
            "clone https://github.com/kylekma/X2CT and name its folder with --official"
        )
    return checkout


def put_on_path(checkout: Path) -> None:
    """Put the authors' package `lib` on the import path."""
    folder = str(checkout / "3DGAN")
    if folder not in sys.path:
        sys.path.insert(0, folder)


def load_our_weights(theirs: nn.Module, ours: nn.Module) -> None:
    """Load the weights of our network into theirs, except for running statistics, which nothing reads."""
    found = theirs.load_state_dict(to_official(ours.state_dict(), ours), strict=False)
    assert not found.unexpected_keys
    assert all(key.endswith(DEAD_BUFFERS) for key in found.missing_keys)


def circumstances(checkout: Path, device: str, rounds: int) -> Iterator[str]:
    """Yield the date, the machine and the versions of a comparison with a checkout."""
    yield f"- Date: {time.strftime('%Y-%m-%d')}"
    yield f"- Machine: {cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads per side"
    if device == "cuda":
        yield f"- CUDA: {torch.cuda.get_device_name()}"
    yield f"- Versions: Python {sys.version.split()[0]}, torch {torch.__version__}; authors' commit {_commit(checkout)}"
    yield f"- Rounds: {rounds}; load at the end {os.getloadavg()[0]:.1f}"


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
