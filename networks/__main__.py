"""`python -m networks`: list the networks, convert checkpoints. Ask for `--help` after a command."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fire
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from conventions import InputError, report_input_errors, set_aside, write_atomically

from . import NETWORKS, build_network, from_official, recognise, to_official
from .convert import image_size_of

LISTED_SIZE = 128
"""Side of the volume that `list` counts multiply-adds at."""


def list_networks() -> None:
    """Print every network: name, parameters, multiply-adds for one case of 128^3 voxels, what it is."""
    print(f"{'name':<32} {'parameters':>12} {'GMAC at 128':>12}  what it is")
    for name in NETWORKS.names:
        with torch.device("meta"):
            network = build_network(name)
            image = _example(name, network)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                network(image)
        parameters = sum(p.numel() for p in network.parameters())
        description = NETWORKS.components[name].description
        print(f"{name:<32} {parameters:>12,} {counter.get_total_flops() / 2e9:>12.1f}  {description}")


def _example(name: str, network: nn.Module) -> torch.Tensor:
    """An input of the size listed."""
    spec: Any = network.spec
    arguments = spec["arguments"]
    if "image_size" in arguments:
        size = arguments["image_size"]
        views = arguments.get("views", 1 if name.startswith(("x2ct_single", "cnn2d")) else 2)
        return torch.empty(1, views, size, size)
    return torch.empty(1, arguments["in_channels"], *[LISTED_SIZE] * (2 if "2d" in name else 3))


def convert(source: str, target: str, name: str | None = None, reverse: bool = False) -> None:
    """Convert a checkpoint of the X2CT authors to ours, or back.

    Args:
        source: their checkpoint (a dict with `state_dict`, or the bare state dict); with --reverse, ours.
        target: file to write: a bare state dict that `inference.json` loads; with --reverse, their dict.
        name: of the network, see `python -m networks list`; by default the entries tell.
        reverse: convert our checkpoint to the authors' names. Needs --name.
    """
    entries = _load(Path(str(source)))
    if reverse:
        _to_theirs(entries, Path(str(source)), Path(str(target)), name)
    else:
        _to_ours(entries, Path(str(source)), Path(str(target)), name)


def _to_ours(entries: Mapping[str, torch.Tensor], source: Path, target: Path, name: str | None) -> None:
    try:
        found, arguments = recognise(entries)
        network = build_network(name or found, **arguments)
        state = from_official(entries, network)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    _write(target, {key: value.clone() for key, value in state.items()})
    dropped = len(entries) - len(state)
    named = ", ".join(f"{key} {value}" for key, value in arguments.items())
    print(f"{name or found} ({named}): {len(state)} entries mapped, {dropped} dropped that have no effect")
    print(f"{target}")


def _to_theirs(entries: Mapping[str, torch.Tensor], source: Path, target: Path, name: str | None) -> None:
    if name is None:
        raise InputError("--reverse needs --name: our entries do not tell the ablations apart")
    arguments: dict[str, Any] = {}
    shapes = [tuple(value.shape) for key, value in entries.items() if key.endswith("connection_a.linear.weight")]
    if shapes:
        arguments["image_size"] = image_size_of(shapes[0])
    elif "layers.0.conv.weight" in entries:
        arguments["in_channels"] = entries["layers.0.conv.weight"].shape[1]
    elif "scales.0.layers.0.conv.weight" in entries:
        arguments["in_channels"] = entries["scales.0.layers.0.conv.weight"].shape[1]
    elif "slices.1.weight" in entries:
        arguments["image_size"] = 2 * entries["slices.1.weight"].shape[0]
    try:
        state = to_official(entries, build_network(name, **arguments))
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    content = {"iters": 0, "epoch": 0, "state_dict": {k: v.clone() for k, v in state.items()}, "lr": 0.0}
    _write(target, content)
    print(f"{name}: {len(state)} entries mapped\n{target}")


def _load(path: Path) -> dict[str, torch.Tensor]:
    """The entries of a checkpoint, read without running anything that it holds."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a checkpoint")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors and numbers, so it is not opened; give a clean one"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as a checkpoint; download it again") from error
    entries = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries or not all(isinstance(v, torch.Tensor) for v in entries.values()):
        raise InputError(f"{path}: holds no state dict; give a checkpoint of a network")
    return dict(entries)


def _write(target: Path, content: object) -> None:
    set_aside(target)
    write_atomically(target, lambda part: torch.save(content, part))


if __name__ == "__main__":
    report_input_errors()
    fire.Fire({"list": list_networks, "convert": convert}, name="networks")
