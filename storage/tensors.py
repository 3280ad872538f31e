"""Write and read files of tensors: state dicts, and anything made of tensors, numbers and text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from conventions import InputError

from .atomic import FilePath, write_atomically


def write_tensors(path: FilePath, content: object) -> Path:
    """Write a state dict, or anything made of tensors, numbers and text, with `write_atomically`.

    Args:
        path: file to write; its folder is created.
        content: anything that `torch.save` takes.

    Returns:
        The path written.

    Raises:
        InputError: as in `write_atomically`.
    """

    def save(part: Path) -> None:
        try:
            torch.save(content, part)
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
        InputError: where the file is missing, damaged, or holds more than tensors, numbers and text.
    """
    cause: Exception
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError) as error:
        sentence = str(error).strip().partition("\n")[0].partition(". ")[0]
        reason, cause = sentence or "it is incomplete", error
    except Exception as error:
        # The unpickler fails on foreign bytes in many ways, and its own message advises the user to run them.
        reason, cause = "it is damaged, or holds more than tensors and numbers", error
    raise InputError(f"{path}: {refusal.format(reason=reason)}") from cause
