"""Read the options of a workflow of the bundle: names and paths as they were typed, and no key that nothing reads."""

from __future__ import annotations

import difflib
import inspect
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from conventions import InputError, report_input_errors

if TYPE_CHECKING:
    from monai.bundle import ConfigParser, ConfigWorkflow

TEXT_OPTIONS = {
    *("bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "cache_dir", "film_dir", "manifest", "patients"),
    *("case", "pa", "lateral", "checkpoint", "style_checkpoint", "initial_model", "resume"),
}
"""Keys that hold names and paths, which stay text even where they look like Python: 0000_0000, 1e5, Doe,John."""

_OF_MONAI = {"imports", "initialize", "run", "finalize", "_desc_", "_meta_", "run_name"}
"""Keys of a config that MONAI itself reads or adds."""

_SEPARATOR = re.compile("::|#")

_MERGE = "+"
"""Beginning of a key with which MONAI adds to a list or dictionary instead of replacing it."""

_FLAG = re.compile("--|-[a-zA-Z]")

_with_text: WeakSet[ConfigWorkflow] = WeakSet()
"""Workflows whose names and paths are as they were typed."""


def on_command_line() -> bool:
    """Return whether this program is `python -m monai.bundle`, not a host program that runs a workflow."""
    return getattr(sys.modules.get("__main__"), "__package__", None) == "monai.bundle"


def read_options() -> None:
    """Read the options of the workflow that is being evaluated, wherever it was given them.

    Names and paths are set to the text that was typed, since MONAI's command line reads it as Python where it can. The
    root of the bundle, unless it was given, becomes the folder above the configs. On the command line, bad input is
    reported in one sentence from here on; in a host program it is raised.

    Raises:
        InputError: where a name or path is not text, or there is a key that nothing reads.
    """
    typed: dict[str, str | None] = {}
    if on_command_line():
        report_input_errors()
        typed = parse_flags(sys.argv)
    workflow = current_workflow()
    if workflow is None:
        return  # a single component, as for MONAI Label
    configs = workflow.config_root_path
    if configs.name == "configs" and str(workflow.parser.get("bundle_root")).startswith("$"):
        typed["bundle_root"] = str(configs.parent)
    if workflow not in _with_text:  # the steps of a config may set names and paths after that
        keep_text(workflow.parser, typed)
        _with_text.add(workflow)
    arguments = _read(Path(typed.get("args_file") or ""))
    files = _config_files(str(typed.get("config_file") or arguments.get("config_file", "")))
    options = {"the command": typed, str(typed.get("args_file")): arguments}
    check_keys(workflow.parser.get(), configs, {str(file): _read(file) for file in files}, options)


def parse_flags(argv: Sequence[str]) -> dict[str, str | None]:
    """Find the flags of a command line and their values as fire does, but leave the values as they were typed.

    Args:
        argv: words of the command line.

    Returns:
        Name -> value; None where a flag has no value.
    """
    found: dict[str, str | None] = {}
    following = [*argv[1:], "--"]
    for word, next_word in zip(argv, following, strict=True):
        if _FLAG.match(word):
            name, equals, value = word.lstrip("-").partition("=")
            found[name.replace("-", "_")] = value if equals else None if _FLAG.match(next_word) else next_word
    return found


def keep_text(parser: ConfigParser, typed: Mapping[str, str | None]) -> None:
    """Set the names and paths of a config to what was typed.

    Args:
        parser: parser of the config, which may be evaluating it.
        typed: as `parse_flags` returns it.

    Raises:
        InputError: where a name or path was given as anything but text.
    """
    from monai.bundle import ConfigItem  # here, since importing it takes seconds

    config = parser.get()
    for key in sorted(TEXT_OPTIONS & config.keys()):
        text = typed.get(key)
        if text is not None and config[key] is not None and text != config[key]:
            config[key] = text
            parser.ref_resolver.items[key] = ConfigItem(text, id=key)  # the default may have been an expression
            parser.ref_resolver.remove_resolved_content(key)
        if not isinstance(config[key], (str, os.PathLike, Mapping, type(None))):
            raise InputError(f"{key} must be text, got {config[key]!r}; give a name or a path")


def check_keys(
    config: Mapping[str, Any],
    configs: Path,
    files: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, Mapping[str, Any]],
) -> None:
    """Refuse a key that no job has and no config refers to.

    MONAI accepts any key silently, so that a misspelt `max_epoch` would train for all epochs.

    Args:
        config: config of a job with all overlays and options in it.
        configs: folder of the jobs' configs; the same overlays and options are given to several jobs.
        files: name -> content of each config that was given; without any, as in a host program, it may be all of them.
        options: "the command" and the name of a file of arguments -> what they set.

    Raises:
        InputError: naming the key, the one that was probably meant and, where it is known, who set it.
    """
    there = {str(file): _read(file) for file in configs.glob("*.json")}
    known = _OF_MONAI.union(*(content for content in there.values() if "run" in content))
    text = json.dumps([config, *(files or there).values()], default=str)
    for key in config:
        if key in known or re.search(rf"[@%]{re.escape(key)}\b", text):
            continue
        close = difflib.get_close_matches(key, [other for other in config if other != key], n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the configs in {configs} hold the keys to choose from"
        given = {**options, **files}.items()
        source = next((f"{name}: " for name, content in given if key in map(_first_part, content)), "")
        raise InputError(f"{source}nothing reads the key {key!r}; {hint}")


def current_workflow() -> ConfigWorkflow | None:
    """Find the workflow that is evaluating the caller: MONAI gives components no reference to it.

    Returns:
        The workflow; None where a single component of a config is evaluated, as for MONAI Label.
    """
    from monai.bundle import ConfigWorkflow

    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(frame.f_locals.get("self"), ConfigWorkflow):
            return frame.f_locals["self"]
        frame = frame.f_back
    return None


def _config_files(value: str) -> list[Path]:
    """Split `a.json` or `['a.json','b.json']`, with or without quotes."""
    return [Path(name.strip()) for name in re.split(r"[\[\],'\"]+", value) if name.strip().endswith(".json")]


def _first_part(key: str) -> str:
    return _SEPARATOR.split(key.removeprefix(_MERGE))[0]


def _read(file: Path) -> Mapping[str, Any]:
    """Read a config; one that cannot be read, which MONAI reports, is empty."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
