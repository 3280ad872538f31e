"""Check the command-line options that the benchmarks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from conventions import InputError


def several(value: Any) -> list[Any]:
    """Return the values of a comma-separated option, which fire may have split already."""
    return list(value) if isinstance(value, (tuple, list)) else str(value).split(",")


def names(value: Any, allowed: Sequence[str]) -> list[str]:
    """Return the names in a comma-separated option.

    Raises:
        InputError: where a name is not allowed.
    """
    for name in several(value):
        if name not in allowed:
            raise InputError(f"{name!r} is unknown: choose from {', '.join(allowed)}")
    return several(value)


def check_device(device: Any) -> None:
    """Refuse a device that is not available, with an `InputError`."""
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"device {device!r} is not available; give cpu{' or cuda' * torch.cuda.is_available()}")
