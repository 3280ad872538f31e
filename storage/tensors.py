"""Write and read files of tensors: state dicts, and anything made of tensors, numbers and text."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from conventions import InputError

from .atomic import FilePath, write_atomically

SAFETENSORS = ".safetensors"
"""Suffix of files that hold tensors by name and nothing else, in no Python format."""


def write_tensors(path: FilePath, content: Any) -> Path:
    """Write a state dict, or anything made of tensors, numbers and text, with `write_atomically`.

    Args:
        path: file to write; its folder is created. Where it ends in .safetensors, it is of that format.
        content: anything that `torch.save` takes; for .safetensors, name -> tensor.

    Returns:
        The path written.

    Raises:
        InputError: as in `write_atomically`, and where the package safetensors is needed and not installed.
    """
    format_of_file = _safetensors(path) if Path(path).suffix == SAFETENSORS else None

    def save(part: Path) -> None:
        try:
            if format_of_file is None:
                torch.save(content, part)
            else:
                format_of_file.save_file({name: value.contiguous() for name, value in content.items()}, part)
        except RuntimeError as error:  # torch gives no reason when the disk is full
            raise OSError("the disk may be full") from error

    return write_atomically(path, save)


def read_tensors(path: FilePath, refusal: str) -> Any:
    """Read what `write_tensors` or `torch.save` wrote, without running code that the file may hold.

    Args:
        path: file to read.
        refusal: message after the file's name where it cannot be read, with what to do; `{reason}` in it is replaced
            by what is wrong with the file.

    Returns:
        Content of the file, its tensors on the CPU.

    Raises:
        InputError: where the file is missing, damaged, or holds more than tensors, numbers and text; or where the
            package safetensors is needed and not installed.
    """
    cause: Exception
    try:
        if Path(path).suffix == SAFETENSORS:
            return _safetensors(path).load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except (RuntimeError, EOFError, OSError) as error:
        sentence = str(error).strip().partition("\n")[0].partition(". ")[0]
        reason, cause = sentence or "it is incomplete", error
    except Exception as error:
        # The unpickler fails on foreign bytes in many ways, and its own message advises the user to run them.
        reason, cause = "it is damaged, or holds more than tensors and numbers", error
    raise InputError(f"{path}: {refusal.format(reason=reason)}") from cause


def _safetensors(path: FilePath) -> ModuleType:
    """Import the package of the format, which only such files need."""
    try:
        return importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise InputError(
            f"{path}: needs the package safetensors: run `make env`, or pip install safetensors"
        ) from error
