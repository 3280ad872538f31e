"""Writing files so that nothing is half written and nothing of an earlier run is lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

logger = logging.getLogger("x2ct.files")


def set_aside(path: str | os.PathLike[str]) -> Path | None:
    """Rename a file of an earlier run after the time it was written, and say so.

    `model.pt` becomes `model_20261124-181500.pt`.

    Args:
        path: the file about to be written.

    Returns:
        The new name of the earlier file, or None where there was none.
    """
    file = Path(path)
    if not file.exists():
        return None
    written = datetime.fromtimestamp(file.stat().st_mtime).strftime("%Y%m%d-%H%M%S")
    suffix = ".nii.gz" if file.name.endswith(".nii.gz") else file.suffix
    stem = file.name.removesuffix(suffix)
    renamed = file.with_name(f"{stem}_{written}{suffix}")
    count = 1
    while renamed.exists():
        count += 1
        renamed = file.with_name(f"{stem}_{written}-{count}{suffix}")
    file.rename(renamed)
    logger.info("kept the earlier %s as %s", file, renamed.name)
    return renamed


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], object]) -> Path:
    """Write a file under a passing name beside it and move it into place, so that it is whole or not there.

    Args:
        path: the file to write; its folder is made.
        write: writes the given path, which keeps the suffixes of `path`.

    Returns:
        The path written.
    """
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{os.getpid()}-{file.name}")
    try:
        write(unfinished)
        os.replace(unfinished, file)
    finally:
        unfinished.unlink(missing_ok=True)
    return file
