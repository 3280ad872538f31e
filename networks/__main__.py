"""`python -m networks`: list the networks, convert checkpoints, export ONNX. Ask for `--help` after a command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fire
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from conventions import InputError, check_run, read_tensors, report_input_errors, set_aside, write_tensors
from export import SYNTHETIC_STATEMENT

from . import NETWORKS, build_network, from_official, recognise, to_official
from .convert import image_size_of, of_cyclegan
from .onnx_export import BATCHES, OPSET, write_onnx

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
    return torch.empty(
        1,
        arguments["in_channels"],
        *[max(LISTED_SIZE, 2 ** arguments.get("halvings", 0))] * (2 if "2d" in name or of_cyclegan(name) else 3),
    )


def convert(source: str, target: str, name: str | None = None, reverse: bool = False) -> None:
    """Convert a checkpoint of X2CT-GAN's or CycleGAN's authors to ours, or back.

    Args:
        source: their checkpoint (a dict with `state_dict`, or the bare state dict); with --reverse, ours.
        target: file to write: a bare state dict that `inference.json` loads; with --reverse, a checkpoint for their
            code, which is a bare state dict for CycleGAN's.
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
    try:
        state = to_official(entries, build_network(name, **_arguments_of(entries, name)))
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    content: dict[str, Any] = {key: value.clone() for key, value in state.items()}
    if not of_cyclegan(name):
        content = {"iters": 0, "epoch": 0, "state_dict": content, "lr": 0.0}
    _write(target, content)
    print(f"{name}: {len(state)} entries mapped\n{target}")


def _arguments_of(entries: Mapping[str, torch.Tensor], name: str) -> dict[str, Any]:
    """Arguments of a network that its entries tell."""
    shapes = {key: tuple(value.shape) for key, value in entries.items()}
    of_connection_a = [shape for key, shape in shapes.items() if key.endswith("connection_a.linear.weight")]
    if of_connection_a:
        return {"image_size": image_size_of(of_connection_a[0])}
    if "slices.1.weight" in shapes:
        return {"image_size": 2 * shapes["slices.1.weight"][0]}
    norm = {} if "stem.conv.bias" in shapes or "layers.1.conv.bias" in shapes else {"norm": "batch"}
    if "stem.conv.weight" in shapes:
        channels, in_channels = shapes["stem.conv.weight"][:2]
        blocks = len({key.split(".")[1] for key in shapes if key.startswith("blocks.")})
        outer = {"in_channels": in_channels, "out_channels": shapes.get("head.weight", (1,))[0]}
        return {**outer, "channels": channels, "blocks": blocks, **norm}
    first = shapes.get("layers.0.conv.weight") or shapes.get("scales.0.layers.0.conv.weight")
    if first is None:
        return {}
    if not of_cyclegan(name):
        return {"in_channels": first[1]}
    convolutions = sum(len(shape) == 4 for shape in shapes.values())
    return {"in_channels": first[1], "channels": first[0], "num_layers": convolutions - 2, **norm}


def export_onnx(checkpoint: str, target: str, name: str | None = None, **arguments: Any) -> None:
    """Write a generator as an ONNX file that ONNX Runtime runs like PyTorch, for any number of cases at once.

    Args:
        checkpoint: our checkpoint, as training and `convert` write it; the `model.json` beside it names the network.
        target: file to write, ending in .onnx: input `image`, output `pred` in unit values.
        name: of the network where there is no `model.json`, see `python -m networks list`.
        **arguments: of that network where they differ from its defaults, such as --image_size 64.
    """
    source, file = Path(str(checkpoint)), Path(str(target))
    if file.suffix != ".onnx":
        raise InputError(f"{file}: is no name for an ONNX file; give one that ends in .onnx")
    check_run("cpu", [file.parent])
    entries = _load(source)
    record = _record_of(source, name, arguments)
    network = _filled(record["network"], entries, source)
    spec: Any = network.spec
    record |= {"network": spec, "output": SYNTHETIC_STATEMENT}
    difference, highest = write_onnx(network, file, _example(spec["name"], network).shape[1:], record)
    batches = " and ".join(map(str, BATCHES))
    print(f"{file}: {spec['name']}, opset {OPSET}, {file.stat().st_size / 1e6:.1f} MB")
    print(
        f"ONNX Runtime differs from PyTorch by at most {difference:.1e} in values up to {highest:.2g} "
        f"(random images, batch {batches})"
    )


def _record_of(source: Path, name: str | None, arguments: dict[str, Any]) -> dict[str, Any]:
    """What made a checkpoint, by the record beside it or as named; without the patients' keys."""
    path = source.with_suffix(".json")
    if not path.is_file():
        if name is None:
            raise InputError(f"{source}: has no {path.name} beside it that names its network; give --name")
        return {"network": {"name": name, "arguments": arguments}}
    if name is not None or arguments:
        raise InputError(f"{path}: says what network this is; leave out --name and the arguments, or move it away")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        {**record["network"]["arguments"], "name": record["network"]["name"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is not the record of a model; restore the one that belongs to it") from error
    return {key: value for key, value in record.items() if key != "patients"}


def _filled(spec: Any, entries: Mapping[str, torch.Tensor], source: Path) -> nn.Module:
    """The generator of a checkpoint with its weights."""
    name = spec["name"]
    try:
        network = build_network(name, **spec["arguments"])
    except (InputError, TypeError) as error:
        raise InputError(f"{source}: {name} cannot be made with these arguments: {error}") from error
    spec = network.spec
    if "image_size" not in spec["arguments"]:
        raise InputError(f"{source}: {name} makes no volume; give a generator")
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in entries.items()}
    wrong = sorted(key for key in expected | found if expected.get(key) != found.get(key))
    if wrong:
        there, wanted = (shapes.get(wrong[0], "none") for shapes in (found, expected))
        raise InputError(
            f"{source}: {len(wrong)} entries do not fit {name} with these arguments, such as {wrong[0]} (shape {there} "
            f"instead of {wanted}); give the name and the arguments it was trained with"
        )
    broken = [key for key, value in entries.items() if not bool(value.isfinite().all())]
    if broken:
        raise InputError(f"{source}: {broken[0]} is not finite, so training went wrong; train again at a lower rate")
    network.load_state_dict(entries)
    return network


def _load(path: Path) -> dict[str, torch.Tensor]:
    """The entries of a checkpoint, read without running anything that it holds."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a checkpoint")
    content = read_tensors(path, "cannot be read as a checkpoint ({reason}), so it is not opened; give another")
    entries = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries or not all(isinstance(v, torch.Tensor) for v in entries.values()):
        raise InputError(f"{path}: holds no state dict; give a checkpoint of a network")
    return dict(entries)


def _write(target: Path, content: object) -> None:
    set_aside(target)
    write_tensors(target, content)


if __name__ == "__main__":
    report_input_errors()
    fire.Fire({"list": list_networks, "convert": convert, "export-onnx": export_onnx}, name="networks")
