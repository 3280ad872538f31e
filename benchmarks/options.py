"""Options of the command line that the benchmarks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from conventions import InputError


def several(value: Any) -> list[Any]:
    """What fire made of a comma-separated option."""
    return list(value) if isinstance(value, (tuple, list)) else str(value).split(",")


def names(value: Any, allowed: Sequence[str]) -> list[str]:
    """The names in a comma-separated option.

    Raises:
        InputError: where one is not allowed.
    """
    for name in several(value):
        if name not in allowed:
            raise InputError(f"{name!r} is none of {', '.join(allowed)}")
    return several(value)


def check_device(device: Any) -> None:
    """Refuse a device that is not here, with an `InputError`."""
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise InputError(f"device {device!r} is not here; give cpu{' or cuda' * torch.cuda.is_available()}")
