"""Write files whole or not at all, and never overwrite those of an earlier run."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from conventions import InputError

logger = logging.getLogger("x2ct.files")

FilePath = str | os.PathLike[str]


def set_aside(*paths: FilePath) -> list[Path]:
    """Rename files of an earlier run with the time at which the first of them was written, and log it.

    `model.pt` and `model.json` become `model_20261124-181500.pt` and `model_20261124-181500.json`, so that files that
    belong together stay together.

    Args:
        *paths: files about to be written.

    Returns:
        New paths of the files that existed.

    Raises:
        InputError: where a path is a folder, or a file cannot be renamed.
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
    """Write a file under a temporary name in the same folder and move it into place, so that it is never half written.

    Args:
        path: file to write; its folder is created.
        write: function that writes the path it is given, which keeps the suffixes of `path`.

    Returns:
        The path written.

    Raises:
        InputError: where the folder cannot be created or written to.
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


def write_folder_atomically(path: FilePath, fill: Callable[[Path], object]) -> Path:
    """Make a folder under a temporary name next to it and move it into place, so that it is never half filled.

    Args:
        path: folder to make; it must not exist, or be empty.
        fill: function that fills the folder it is given.

    Returns:
        The folder.

    Raises:
        InputError: where the folder holds something, or cannot be made.
    """
    folder = Path(path)
    check_new_folder(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            made = Path(temporary) / folder.name
            made.mkdir()
            fill(made)
            for file in made.rglob("*"):
                if file.is_file():
                    with file.open("rb") as written:
                        os.fsync(written.fileno())
            os.replace(made, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error}); choose another folder or make room") from error
    return folder


def check_new_folder(path: FilePath) -> None:
    """Refuse a folder to make that is there already, unless it is empty.

    Args:
        path: folder to make.

    Raises:
        InputError: where it holds something, or is a file.
    """
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists already; give a folder that does not, or an empty one")


def to_json(content: object) -> str:
    """Return indented JSON that ends with a newline; enums and paths become text, NumPy and torch scalars numbers."""
    return (
        json.dumps(content, indent=4, default=lambda value: value.item() if hasattr(value, "item") else str(value))
        + "\n"
    )


def write_json(path: FilePath, content: object) -> Path:
    """Write JSON with `write_atomically`.

    Args:
        path: file to write; its folder is created.
        content: anything that `to_json` takes.

    Returns:
        The path written.

    Raises:
        InputError: as in `write_atomically`.
    """
    text = to_json(content)
    return write_atomically(path, lambda part: part.write_text(text, encoding="utf-8"))
