"""Check the command line of `python -m monai.bundle run` for keys that nothing reads."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conventions import InputError

_OF_MONAI = {"run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"}
_OF_MONAI |= {"imports", "initialize", "run", "finalize", "_desc_", "_meta_"}
"""Arguments of `monai.bundle run`, and config keys that it reads itself."""

_SEPARATOR = re.compile("::|#")

_MERGE = "+"
"""Beginning of a key with which MONAI adds to a list or dictionary instead of replacing it."""


def check_options(argv: Sequence[str]) -> None:
    """Refuse a key, given as `--key value` or in an overlay, that no job has and no config refers to.

    MONAI accepts any key silently, so that a misspelt `--max_epoch 5` would train for all epochs.

    Args:
        argv: arguments of the program; anything but `monai.bundle run` with config files in JSON is ignored.

    Raises:
        InputError: naming the key and the one that was probably meant.
    """
    given = _options(argv)
    files = _config_files(given.get("config_file", ""))
    if not files or not str(argv[0]).replace("\\", "/").endswith("monai/bundle/__main__.py"):
        return
    contents = [_read(file) for file in files]
    if any(content is None for content in contents):
        return  # MONAI reports what is wrong with the file
    base, text = contents[0] or {}, " ".join(json.dumps(content) for content in contents)
    # The same overlays and options are given to several jobs.
    known = _OF_MONAI | set(base) | {key for file in files[0].parent.glob("*.json") for key in _keys_of_job(file)}
    sources = {str(file): content or {} for file, content in zip(files[1:], contents[1:], strict=True)}
    for source, keys in {**sources, "the command": given}.items():
        for key in keys:
            name = _SEPARATOR.split(key.removeprefix(_MERGE))[0]
            if name in known or re.search(rf"[@%]{re.escape(name)}\b", text):
                continue
            close = difflib.get_close_matches(name, base, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"{files[0]} holds the keys to choose from"
            raise InputError(f"{source}: nothing reads the key {name!r}; {hint}")


def _options(argv: Sequence[str]) -> dict[str, str]:
    """Parse flags and their values as fire does."""
    found: dict[str, str] = {}
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            found[name.replace("-", "_")] = value if equals else following
    return found


def _config_files(value: str) -> list[Path]:
    """Split `a.json` or `['a.json','b.json']`, with or without quotes."""
    return [Path(name) for name in re.split(r"[\[\],'\"\s]+", value) if name.endswith(".json")]


def _keys_of_job(file: Path) -> set[str]:
    """Return the top-level keys of a config that can be run."""
    content = _read(file) or {}
    return set(content) if "run" in content else set()


def _read(file: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
