"""The model file, the record beside it that says what made it, and loading that believes neither blindly."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from conventions import InputError, set_aside, write_atomically

logger = logging.getLogger("x2ct.model")

MUST_AGREE = ("network", "geometry", "curve", "film", "hu_window", "grid")
"""Entries of a record in which a model and the run that uses it must not differ."""


def record_path(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the record of a checkpoint lies: `model.json` beside `model.pt`."""
    return Path(checkpoint).with_suffix(".json")


class ModelRecorder:
    """Handler that makes room for a run's model and writes its record, before training starts.

    The model of an earlier run is renamed after the time it was written, never overwritten.

    Args:
        ckpt_dir: folder of the model file.
        record: what makes the model, JSON-able; the entries of `MUST_AGREE` are compared when it is used.
        filename: name of the model file.
    """

    def __init__(self, ckpt_dir: str | os.PathLike[str], record: Mapping[str, Any], filename: str = "model.pt") -> None:
        self.checkpoint = Path(ckpt_dir) / filename
        self.record = record

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Rename what an earlier run left and write the record."""
        record = record_path(self.checkpoint)
        set_aside(self.checkpoint)
        set_aside(record)
        text = json.dumps(self.record, indent=4, default=_plain) + "\n"
        write_atomically(record, lambda part: part.write_text(text, encoding="utf-8"))


def load_model(network: nn.Module, checkpoint: str | os.PathLike[str], record: Mapping[str, Any]) -> nn.Module:
    """Load a checkpoint into a network, refusing one made for something else.

    Args:
        network: the network to fill.
        checkpoint: a bare state dict, as training and conversion write it.
        record: what this run assumes; compared with the record beside the checkpoint.

    Returns:
        The network, in evaluation mode.

    Raises:
        InputError: where there is no checkpoint, it is not a state dict, its shapes or its record do not fit.
    """
    file = Path(checkpoint)
    if not file.is_file():
        raise InputError(
            f"{file}: there is no model yet; train one (python -m monai.bundle run training), convert the authors' "
            "checkpoint, or name a model with --checkpoint"
        )
    _compare_records(file, record)
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{file}: cannot be read as PyTorch weights ({reason}); copy or train the model again"
        ) from error
    _check_shapes(file, weights, network.state_dict())
    network.load_state_dict(weights)
    return network.eval()


def _compare_records(file: Path, record: Mapping[str, Any]) -> None:
    path = record_path(file)
    if not path.is_file():
        logger.warning("%s: has no %s beside it, so geometry and window cannot be checked", file, path.name)
        return
    try:
        made_with = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: is not JSON ({error}); restore the record that belongs to {file.name}") from error
    wanted = json.loads(json.dumps(record, default=_plain))
    for entry in MUST_AGREE:
        made, asked = made_with.get(entry), wanted.get(entry)
        if made != asked:
            entry, made, asked = _first_difference(entry, made, asked)
            raise InputError(
                f"{file}: was trained with {entry} {made!r}, this run asks for {asked!r}; use the configuration the "
                "model was trained with, or another --checkpoint"
            )


def _first_difference(entry: str, made: Any, asked: Any) -> tuple[str, Any, Any]:
    """Go down to the first entry that differs, so that the sentence names it."""
    while isinstance(made, dict) and isinstance(asked, dict):
        key = next(key for key in [*made, *asked] if made.get(key) != asked.get(key))
        entry, made, asked = f"{entry} {key}", made.get(key), asked.get(key)
    return entry, made, asked


def _check_shapes(file: Path, weights: Any, expected: Mapping[str, torch.Tensor]) -> None:
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{file}: is not a bare state dict; convert it, or give the model.pt that training wrote")
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


def _plain(value: Any) -> Any:
    """JSON for what is none yet: enums, tuples, paths and numbers of other libraries."""
    return value.item() if hasattr(value, "item") else str(value)
