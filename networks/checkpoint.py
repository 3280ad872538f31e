"""Read and check a model: its weights, and the record next to them that describes how it was made.

A model is `NAME.pt` or `NAME.safetensors`, a bare state dict, and `NAME.json`, its record. A generator that training
wrote also has `NAME_mean.pt`, the mean of the volumes it was trained on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from torch import nn

from conventions import InputError
from drr import Acquisition
from storage import digest_of, read_tensors, to_json, write_json

from .registry import build_network, takes_any_views

FilePath = str | os.PathLike[str]

PRIVATE_ENTRIES = ("patients", "film_keys")
"""Entries of a record that are not copied into results: keys of the patients and films that the model has seen."""

ABOUT = "about"
"""Entry of the record of published weights that describes them to people; it is not copied into results either."""

WEIGHTS_SHA256 = "weights_sha256"
"""Entry of the record of published weights: the suffix of each file of the weights and its SHA-256, for `load`."""


def record_path(checkpoint: FilePath) -> Path:
    """Return the path of the record of a checkpoint: `model.json` for `model.pt`."""
    return Path(checkpoint).with_suffix(".json")


def mean_path(checkpoint: FilePath) -> Path:
    """Return the path of the mean training volume of a checkpoint: `model_mean.pt` for `model.pt`."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}_mean.pt")


def make_record(
    network: nn.Module,
    acquisition: Acquisition | None = None,
    hu_window: Sequence[float] | None = None,
    data: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Make the record of a model: what a run that uses it must agree with, and what it was trained on.

    Args:
        network: made by `build_network`.
        acquisition: how its radiographs are made; None where it is not known, or there are none.
        hu_window: (low, high) in HU that became [0, 1]; None for a network that makes no volume.
        data: entries on the training data, for example `cohort.describe_data`.
        **more: further entries, for example the seed.

    Returns:
        Plain data for JSON.
    """
    made_of = {
        "network": network.spec,
        **({} if acquisition is None else {"acquisition": acquisition.record()}),
        **({} if hu_window is None else {"hu_window": list(hu_window)}),
        **more,
        **(data or {}),
        "versions": {"monai": monai.__version__, "torch": torch.__version__, "numpy": np.__version__},
    }
    plain: dict[str, Any] = json.loads(to_json(made_of))
    return plain


def write_record(checkpoint: FilePath, record: Mapping[str, Any]) -> Path:
    """Write the record of a checkpoint.

    Args:
        checkpoint: the model file, which may be written later.
        record: what `make_record` returned.

    Returns:
        The file written.
    """
    return write_json(record_path(checkpoint), record)


def read_record(checkpoint: FilePath) -> dict[str, Any]:
    """Read the record of a checkpoint, and convert one of version 0.1 to the present form.

    Args:
        checkpoint: the model file.

    Returns:
        The record, with at least `network`.

    Raises:
        InputError: where there is no record, or the file is not the record of a model.
    """
    path = record_path(checkpoint)
    if not path.is_file():
        raise InputError(
            f"{checkpoint}: there is no {path.name} next to it, which says what the model was made for; copy both "
            "files, or convert the authors' checkpoint (python -m networks convert), which writes both"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not JSON ({error}); restore the record that belongs to the model") from error
    try:
        _ = record["network"]["name"], dict(record["network"]["arguments"]), dict(record.get(WEIGHTS_SHA256, {}))
        record = _in_present_form(record)
        if "acquisition" in record:
            Acquisition.from_record(record["acquisition"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: is not the record of a model; restore the one that belongs to it") from error
    return record


def load(
    path: FilePath,
    expect: Mapping[str, Any] | None = None,
    *,
    network: nn.Module | None = None,
    held_out: Sequence[str] = (),
    films: Sequence[str] = (),
) -> tuple[nn.Module, dict[str, Any]]:
    """Load a model and its record, refusing one that was made for something else.

    Args:
        path: the model file; its record lies next to it.
        expect: entries that the record must agree with, as `make_record` gives them: any of `network`, `acquisition`
            and `hu_window`; None expects nothing. A network for any number of views may be given others.
        network: fill this network instead of making the one that the record names.
        held_out: keys of the patients to be evaluated, which the model must not have seen (`cohort.patient_keys`).
        films: keys of the films to be evaluated, which the model must not have seen.

    Returns:
        The network in evaluation mode, and the record.

    Raises:
        InputError: where a file is missing or damaged, the weights do not fit or are others than the record says, the
            record does not agree, or the model has seen what is held out.
    """
    file = Path(path)
    weights = read_weights(file)
    record = read_record(file)
    _refuse_other_weights(file, record)
    _refuse_differences(file, record, json.loads(to_json(expect or {})))
    _refuse_seen(file, record, held_out, films)
    if network is None:
        try:
            network = build_network(record["network"]["name"], **record["network"]["arguments"])
        except (InputError, TypeError) as error:
            raise InputError(f"{record_path(file)}: names a network that cannot be made: {error}") from error
    _fill(network, file, weights)
    return network.eval(), record


def network_for(checkpoint: FilePath, name: str, **arguments: Any) -> nn.Module:
    """Build the network of a config, refusing one that the record of the model does not name.

    Without this, `monai.bundle.load` would fill what fits and return a network that is not trained.

    Args:
        checkpoint: the model file; where there is none with a record, any network is built.
        name: as in `build_network`.
        **arguments: as in `build_network`.

    Returns:
        The network, not yet trained.

    Raises:
        InputError: as in `build_network`, and where the record names another network.
    """
    network = build_network(name, **arguments)
    if record_path(checkpoint).is_file():
        _refuse_differences(Path(checkpoint), read_record(checkpoint), json.loads(to_json({"network": network.spec})))
    return network


def start_from(network: nn.Module, checkpoint: FilePath) -> None:
    """Fill a network with the weights of a model, to train it further, for other radiographs or in another size.

    Args:
        network: network of the same layers; its `neutral_layers` may be missing in the model, and stay as they are.
        checkpoint: the model file.

    Raises:
        InputError: as in `read_weights`, and where the weights do not fit.
    """
    file = Path(checkpoint)
    weights = read_weights(file)
    neutral = getattr(network, "neutral_layers", ())
    own = {name: value for name, value in network.state_dict().items() if name.split(".")[0] in neutral}
    _fill(network, file, own | weights)


def read_weights(checkpoint: FilePath) -> dict[str, torch.Tensor]:
    """Read the weights of a model without its record, for which `load` is the safer way.

    Args:
        checkpoint: the model file.

    Returns:
        The state dict. A file that ends in .safetensors is read without Python's pickle format.

    Raises:
        InputError: where the file is missing, damaged or not a bare state dict, holds numbers that are not finite, or
            needs the package safetensors, which is not installed.
    """
    file = Path(checkpoint)
    if not file.is_file():
        raise InputError(
            f"{file}: there is no model yet; train one (python -m monai.bundle run training), convert the authors' "
            "checkpoint (python -m networks convert), or give the path of another"
        )
    weights = read_tensors(file, "cannot be read as PyTorch weights ({reason}); copy or train the model again")
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{file}: is not a bare state dict; convert it, or give the model.pt that training wrote")
    for name, value in weights.items():
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"{file}: {name!r} is not finite, so training went wrong; train again at a lower rate")
    return dict(weights)


def read_mean_volume(checkpoint: FilePath) -> torch.Tensor | None:
    """Read the mean training volume that was saved with a model.

    Args:
        checkpoint: the model file.

    Returns:
        (1, D, H, W) unit values; None where none was saved.

    Raises:
        InputError: where the file is damaged.
    """
    path = mean_path(checkpoint)
    if not path.is_file():
        return None
    volume: torch.Tensor = read_tensors(path, "is not the mean training volume ({reason}); copy the model again")
    return volume


def describe_model(checkpoint: FilePath) -> dict[str, Any]:
    """Describe the model that made a result: its record without private entries, its file name, its SHA-256.

    Args:
        checkpoint: the model file.

    Returns:
        Entries for a sidecar or a summary; none where there is no model, which `load` refuses.

    Raises:
        InputError: where the record is missing or damaged.
    """
    file = Path(checkpoint)
    if not file.is_file():
        return {}
    left_out = (*PRIVATE_ENTRIES, ABOUT, WEIGHTS_SHA256)
    record = {key: value for key, value in read_record(file).items() if key not in left_out}
    return {**record, "checkpoint": file.name, "sha256": digest_of(file)}


def _in_present_form(record: dict[str, Any]) -> dict[str, Any]:
    """Name the refinements of RayLift; move what a record of version 0.1 says of its films into its acquisition."""
    network = record.get("network")
    if network is not None and network["name"].startswith("raylift"):
        arguments = {"refinements": 0, **network["arguments"]}
        record = {**record, "network": {**network, "arguments": arguments}}
    if "acquisition" in record or "geometry" not in record:
        return record
    arguments = record["network"]["arguments"]
    single = arguments.get("views") == 1 or record["network"]["name"].startswith(("x2ct_single", "cnn2d"))
    grid = record["grid"]
    views = record.get("views") or (["pa"] if single else ["pa", "lateral"])
    style = {"film": "logistic"}.get(record["film"], record["film"])
    side = arguments.get("image_size") or record.get("image_size") or grid["shape"][0]
    acquisition = {
        "geometry": record["geometry"],
        "views": views,
        "curve": record["curve"],
        "film_style": style,
        "detector_shape": [side, side],
        "grid": {"shape": grid["shape"], "spacing": grid["spacing"]},
        "anchor": grid["anchor"],
    }
    moved = ("geometry", "views", "curve", "film", "grid", "image_size")
    kept = {key: value for key, value in record.items() if key not in moved}
    return {**kept, "acquisition": acquisition}


def _refuse_other_weights(file: Path, record: Mapping[str, Any]) -> None:
    expected = record.get(WEIGHTS_SHA256, {}).get(file.suffix)
    if expected is not None and digest_of(file) != expected:
        raise InputError(
            f"{file}: is not the file that {record_path(file).name} was written for, whose SHA-256 is "
            f"{expected[:16]}...; copy both files again from one place"
        )


def _refuse_differences(file: Path, record: Mapping[str, Any], expect: Mapping[str, Any]) -> None:
    what_to_do = "use the configuration the model was trained with, or another --checkpoint"
    any_views = takes_any_views(record["network"]["name"])
    if any_views:
        # Its views only say what radiographs without geometry are.
        record = {**record, "network": _without_views(record["network"])}
        expect = {**expect, **({"network": _without_views(expect["network"])} if "network" in expect else {})}
    for entry in ("network", "hu_window"):
        if entry in expect and record.get(entry) != expect[entry]:
            name, made, asked = _first_difference(entry, record.get(entry), expect[entry])
            raise InputError(f"{file}: was trained with {name} {made!r}, this run asks for {asked!r}; {what_to_do}")
    if "acquisition" in expect:
        if "acquisition" not in record:
            raise InputError(
                f"{record_path(file)}: does not say for which radiographs the model was made; {what_to_do}"
            )
        made_for = Acquisition.from_record(record["acquisition"])
        free = ("views",) if any_views else ()
        difference = made_for.difference(Acquisition.from_record(expect["acquisition"]), without=free)
        if difference:
            raise InputError(f"{file}: was trained with {difference}; {what_to_do}")


def _without_views(spec: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {key: value for key, value in spec["arguments"].items() if key not in ("views", "geometry")}
    return {**spec, "arguments": arguments}


def _first_difference(entry: str, made: Any, asked: Any) -> tuple[str, Any, Any]:
    """Find the innermost entry that differs, so that the message names it."""
    while isinstance(made, dict) and isinstance(asked, dict):
        key = next(key for key in [*made, *asked] if made.get(key) != asked.get(key))
        entry, made, asked = f"{entry} {key}", made.get(key), asked.get(key)
    return entry, made, asked


def _refuse_seen(file: Path, record: Mapping[str, Any], held_out: Sequence[str], films: Sequence[str]) -> None:
    seen = set(record.get("patients", ())) & set(held_out)
    if seen:
        raise InputError(
            f"{file}: was trained or chosen on {len(seen)} of the {len(held_out)} patients to be evaluated; evaluate "
            "fold test of the manifest it was trained with"
        )
    seen = set(record.get("film_keys", ())) & set(films)
    if seen:
        raise InputError(
            f"{file}: was trained on {len(seen)} of the {len(films)} films to be measured on; keep some films "
            "back before training, and give those by --film_dir"
        )


def _fill(network: nn.Module, file: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Load weights, refusing those of another network."""
    expected = network.state_dict()
    missing, extra = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    if missing or extra:
        name = sorted(missing or extra)[0]
        raise InputError(
            f"{file}: {'lacks' if missing else 'holds'} {name!r}, so it belongs to another network; "
            "give the network it was trained with (--network_def::name) or another --checkpoint"
        )
    for name, value in expected.items():
        if weights[name].shape != value.shape:
            raise InputError(
                f"{file}: {name!r} has the shape {tuple(weights[name].shape)}, this network needs "
                f"{tuple(value.shape)}; use the configuration the model was trained with"
            )
    network.load_state_dict(weights)
