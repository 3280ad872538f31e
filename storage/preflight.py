"""Check a run before it starts: its options, its device and its folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from conventions import InputError

from .atomic import FilePath
from .options import read_options


def check_run(device: str | torch.device, folders: Sequence[FilePath]) -> None:
    """Refuse a run on a device that is not there, or into folders that cannot be written to.

    Args:
        device: device that the run computes on.
        folders: folders that it will write to; they need not exist yet.

    Raises:
        InputError: naming the device or the folder.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {str(device)!r} is not available on this machine; use --device cpu") from error
    for folder in map(Path, folders):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise InputError(f"{folder}: cannot be written to, because of {existing}; choose another folder")


def start_run(device: str | torch.device, folders: Sequence[FilePath]) -> None:
    """Start a run of the bundle: read its options with `read_options`, and check it with `check_run`.

    Args:
        device: device that the run computes on.
        folders: folders that it will write to; they need not exist yet.

    Raises:
        InputError: as in `read_options` and `check_run`.
    """
    read_options()
    check_run(device, folders)
