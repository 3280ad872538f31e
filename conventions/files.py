"""Writing files so that nothing is half written and nothing of an earlier run is lost, and reading such files back."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from .command_line import check_options
from .errors import InputError

logger = logging.getLogger("x2ct.files")

FilePath = str | os.PathLike[str]


def set_aside(*paths: FilePath) -> list[Path]:
    """Rename files of an earlier run after the time the first of them was written, and say so.

    `model.pt` and `model.json` become `model_20261124-181500.pt` and `model_20261124-181500.json`, so that files that
    belong together stay together.

    Args:
        *paths: the files about to be written.

    Returns:
        The new names of those that were there.

    Raises:
        InputError: where a folder stands in a file's place, or the file cannot be renamed.
    """
    files = [Path(path) for path in paths if Path(path).exists()]
    for file in files:
        if file.is_dir():
            raise InputError(f"{file}: is a folder; name the file to write")
    if not files:
        return []
    stamp = datetime.fromtimestamp(files[0].stat().st_mtime).strftime("_%Y%m%d-%H%M%S")
    count = 1
    while any(_stamped(file, stamp).exists() for file in files):
        count += 1
        stamp = f"{stamp.split('~')[0]}~{count}"
    renamed = []
    for file in files:
        try:
            renamed.append(file.rename(_stamped(file, stamp)))
        except OSError as error:
            raise InputError(f"{file}: cannot be renamed ({error.strerror}); choose another folder") from error
        logger.info("kept the earlier %s as %s", file, renamed[-1].name)
    return renamed


def _stamped(file: Path, stamp: str) -> Path:
    suffix = ".nii.gz" if file.name.endswith(".nii.gz") else file.suffix
    return file.with_name(file.name.removesuffix(suffix) + stamp + suffix)


def write_atomically(path: FilePath, write: Callable[[Path], object]) -> Path:
    """Write a file under a passing name beside it and move it into place, so that it is whole or not there.

    Args:
        path: the file to write; its folder is made.
        write: writes the given path, which keeps the suffixes of `path`.

    Returns:
        The path written.

    Raises:
        InputError: where the folder cannot be made or written to.
    """
    file = Path(path)
    unfinished = file.with_name(f".{os.getpid()}-{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write(unfinished)
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, file)
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error}); choose another folder or make room") from error
    finally:
        if unfinished.exists():
            unfinished.unlink()
    return file


def to_json(content: object) -> str:
    """Indented JSON with a last newline; enums and paths as text, numbers of other libraries as numbers."""
    return (
        json.dumps(content, indent=4, default=lambda value: value.item() if hasattr(value, "item") else str(value))
        + "\n"
    )


def write_json(path: FilePath, content: object) -> Path:
    """Write JSON with `write_atomically`.

    Args:
        path: the file to write; its folder is made.
        content: what `to_json` takes.

    Returns:
        The path written.

    Raises:
        InputError: as `write_atomically`.
    """
    text = to_json(content)
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_tensors(path: FilePath, content: object) -> Path:
    """Write a state dict, or anything made of tensors, numbers and text, with `write_atomically`.

    Args:
        path: the file to write; its folder is made.
        content: what `torch.save` takes.

    Returns:
        The path written.

    Raises:
        InputError: as `write_atomically`.
    """

    def save(part: Path) -> None:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # torch's own writer tells no reason when the disk is full
            raise OSError("the disk may be full") from error

    return write_atomically(path, save)


def read_tensors(path: FilePath, refusal: str) -> Any:
    """Read what `write_tensors` or `torch.save` wrote, running nothing that the file holds.

    Args:
        path: the file to read.
        refusal: what is said after the file's name where it cannot be read, with what to do; `{reason}` in it becomes
            what is wrong with the file.

    Returns:
        What the file holds, its tensors on the CPU.

    Raises:
        InputError: where the file is missing, damaged, or holds more than tensors, numbers and text.
    """
    cause: Exception
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        sentence = str(error).strip().partition("\n")[0].partition(". ")[0]
        reason, cause = sentence or "it is not whole", error
    except Exception as error:
        # The unpickler stumbles over foreign bytes in many ways, and where it refuses, its words advise to run them.
        reason, cause = "it is damaged, or holds more than tensors and numbers", error
    raise InputError(f"{path}: {refusal.format(reason=reason)}") from cause


def check_run(device: str | torch.device, folders: Sequence[FilePath]) -> None:
    """Refuse a run with keys that nothing reads, on a device that is not there, or into folders that are locked.

    Args:
        device: where the run computes.
        folders: where it will write; they need not exist yet.

    Raises:
        InputError: naming the key, the device or the folder.
    """
    check_options(sys.argv)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device {str(device)!r} is not to be had here; use --device cpu") from error
    for folder in map(Path, folders):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK):
            raise InputError(f"{folder}: cannot be written to, because of {existing}; choose another folder")
