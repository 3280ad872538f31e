"""`python -m networks`: list the networks, convert checkpoints, export ONNX and .pt2. Each command has `--help`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from conventions import HU_WINDOW, SYNTHETIC_STATEMENT, InputError, run_command
from storage import check_run, read_tensors, set_aside, write_tensors

from . import (
    NETWORKS,
    build_network,
    describe_model,
    from_official,
    load,
    make_record,
    mean_path,
    recognise,
    record_path,
    to_official,
    write_record,
)
from .checkpoint import read_weights
from .convert import is_of_cyclegan, official_acquisition, recognise_ours
from .export_check import BATCHES
from .onnx_export import OPSET, write_onnx
from .pt2_export import write_pt2
from .x2ct import VolumeGenerator

LISTED_SIZE = 128
"""Side of the images and volumes at which `list` counts multiply-adds."""

SETTINGS_OF_AUTHORS = "those of the authors' data; their checkpoint does not hold them"
"""Origin of the acquisition and the HU window in the record of a converted generator."""


def list_networks() -> None:
    """Print every network: name, parameters, multiply-adds for one case of 128^3 voxels, description."""
    print(f"{'name':<32} {'parameters':>12} {'GMAC at 128':>12}  what it is")
    for name in NETWORKS.names:
        with torch.device("meta"):
            network = build_network(name)
            image = _example(network)
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                network(image)
        parameters = sum(p.numel() for p in network.parameters())
        description = NETWORKS.components[name].description
        print(f"{name:<32} {parameters:>12,} {counter.get_total_flops() / 2e9:>12.1f}  {description}")


def _example(network: nn.Module) -> torch.Tensor:
    """Make an empty input of the size listed."""
    if isinstance(network, VolumeGenerator):
        return torch.empty(1, network.views, network.image_size, network.image_size)
    spec: Any = network.spec
    dims = max(parameter.ndim for parameter in network.parameters()) - 2
    size = max(LISTED_SIZE, 2 ** spec["arguments"].get("halvings", 0))
    return torch.empty(1, spec["arguments"]["in_channels"], *[size] * dims)


def convert(source: str, target: str, name: str | None = None, reverse: bool = False) -> None:
    """Convert a checkpoint of the authors of X2CT-GAN or CycleGAN to a model of ours, or back.

    A model of ours is a state dict and its record, the .json file next to it. The record of a generator of X2CT-GAN
    states that its radiographs are made as in the authors' data.

    Args:
        source: their checkpoint (a dict with `state_dict`, or the bare state dict); with --reverse, our model.
        target: file to write; with --reverse, a checkpoint for their code.
        name: name of the network, as in `python -m networks list`, if the checkpoint does not reveal it. With
            --reverse it is only needed for a model without a record.
        reverse: whether to convert our model to the authors' checkpoint.
    """
    if reverse:
        _to_theirs(Path(source), Path(target), name)
    else:
        _to_ours(Path(source), Path(target), name)


def _to_ours(source: Path, target: Path, name: str | None) -> None:
    if target.suffix == ".json":
        raise InputError(f"{target}: is the name of a record; give one that ends in .pt, the record is written with it")
    entries = _read_official(source)
    try:
        found, arguments = recognise(entries)
        network = build_network(name or found, **arguments)
        state = from_official(entries, network)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    acquisition = official_acquisition(network)
    window = None if acquisition is None else HU_WINDOW
    converted = {"checkpoint": source.name, "authors": "CycleGAN" if is_of_cyclegan(name or found) else "X2CT-GAN"}
    if acquisition is not None:
        converted["acquisition and hu_window"] = SETTINGS_OF_AUTHORS
    record = make_record(network, acquisition, window, converted=converted)
    set_aside(target, record_path(target), mean_path(target))
    write_record(target, record)
    write_tensors(target, {key: value.clone() for key, value in state.items()})
    named = ", ".join(f"{key} {value}" for key, value in arguments.items())
    dropped = len(entries) - len(state)
    print(f"{name or found} ({named}): {len(state)} entries mapped, {dropped} dropped that have no effect")
    print(f"{target}\n{record_path(target)}")
    if acquisition is not None:
        print(f"The acquisition and the HU window in the record are {SETTINGS_OF_AUTHORS}.")


def _to_theirs(source: Path, target: Path, name: str | None) -> None:
    if record_path(source).is_file():
        network, record = load(source)
        recorded = record["network"]["name"]
        if name not in (None, recorded):
            raise InputError(f"{record_path(source)}: says that this is {recorded}, not {name}; leave out --name")
        name, weights = recorded, network.state_dict()
    elif name is None:
        raise InputError(f"{source}: has no record next to it that names its network; give --name")
    else:
        weights = read_weights(source)
        network = build_network(name, **recognise_ours(weights, name))
    try:
        state = to_official(weights, network)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    content: dict[str, Any] = {key: value.clone() for key, value in state.items()}
    if not is_of_cyclegan(name):  # whose code reads a bare state dict
        content = {"iters": 0, "epoch": 0, "state_dict": content, "lr": 0.0}
    set_aside(target)
    write_tensors(target, content)
    print(f"{name}: {len(state)} entries mapped\n{target}")


def _read_official(path: Path) -> dict[str, torch.Tensor]:
    """Read the entries of an authors' checkpoint without running anything that it holds."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a checkpoint")
    content = read_tensors(path, "cannot be read as a checkpoint ({reason}), so it is not opened; give another")
    entries = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries or not all(isinstance(v, torch.Tensor) for v in entries.values()):
        raise InputError(f"{path}: holds no state dict; give a checkpoint of a network")
    return dict(entries)


def export_onnx(checkpoint: str, target: str) -> None:
    """Write a generator as an ONNX file that ONNX Runtime runs like PyTorch, with any batch size.

    Args:
        checkpoint: model that training or `convert` wrote, with its record next to it.
        target: file to write, ending in .onnx: input `image`, output `pred` in unit values.
    """
    _export(Path(checkpoint), Path(target), ".onnx", write_onnx, f"ONNX opset {OPSET}")


def export_pt2(checkpoint: str, target: str) -> None:
    """Write a generator as an exported program of PyTorch, which needs none of this code, with any batch size.

    Args:
        checkpoint: model that training or `convert` wrote, with its record next to it.
        target: file to write, ending in .pt2; `torch.export.load(target).module()` takes the radiographs and returns
            the volume in unit values.
    """
    _export(Path(checkpoint), Path(target), ".pt2", write_pt2, "torch.export")


def _export(source: Path, file: Path, suffix: str, write: Callable[..., tuple[float, float]], made_as: str) -> None:
    """Load a generator, write it as a file of another format, and say how far it is from PyTorch."""
    if file.suffix != suffix:
        raise InputError(f"{file}: is not the name of a {suffix} file; give one that ends so")
    check_run("cpu", [file.parent])
    network, _ = load(source)
    spec: Any = network.spec
    if not isinstance(network, VolumeGenerator):
        raise InputError(f"{source}: {spec['name']} makes no volume; give a generator")
    metadata = {**describe_model(source), "network": spec, "output": SYNTHETIC_STATEMENT}
    difference, highest = write(network, file, _example(network).shape[1:], metadata)
    batches = " and ".join(map(str, BATCHES))
    print(f"{file}: {spec['name']}, {made_as}, {file.stat().st_size / 1e6:.1f} MB")
    print(
        f"It differs from PyTorch by at most {difference:.1e} in values up to {highest:.2g} "
        f"(random images, batch {batches})"
    )


if __name__ == "__main__":
    run_command(
        {"list": list_networks, "convert": convert, "export-onnx": export_onnx, "export-pt2": export_pt2}, "networks"
    )
