"""Measure the memory of this process, with the standard library alone for workers in other environments."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path


def forget_peak(device: str = "cpu") -> int:
    """Start a new peak, after freed heap has been given back.

    Args:
        device: "cpu" counts resident pages, "cuda" what torch has allocated on the GPU.

    Returns:
        Bytes in use now.
    """
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM to the present size
    return _bytes_of("/proc/self/status", "VmRSS")


def peak_bytes(device: str = "cpu") -> int:
    """Return the largest number of bytes in use since `forget_peak`."""
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated()
    return _bytes_of("/proc/self/status", "VmHWM")


def available_bytes() -> int:
    """Return the number of bytes that this machine has left."""
    return _bytes_of("/proc/meminfo", "MemAvailable")


def _bytes_of(file: str, key: str) -> int:
    line = next(line for line in Path(file).read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024
