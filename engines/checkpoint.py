"""The model file, the record beside it that says what made it, and loading that believes neither blindly."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from conventions import InputError, read_tensors, to_json

logger = logging.getLogger("x2ct.model")

MUST_AGREE = ("network", "geometry", "curve", "film", "hu_window", "grid")
"""Entries of a record in which a model and the run that uses it must not differ."""


def record_path(checkpoint: str | os.PathLike[str]) -> Path:
    """Where the record of a checkpoint lies: `model.json` beside `model.pt`."""
    return Path(checkpoint).with_suffix(".json")


def load_model(
    network: nn.Module,
    checkpoint: str | os.PathLike[str],
    record: Mapping[str, Any],
    held_out: Sequence[str] = (),
) -> nn.Module:
    """Load a checkpoint into a network, refusing one made for something else.

    Args:
        network: the network to fill.
        checkpoint: a bare state dict, as training and conversion write it.
        record: what this run assumes; compared with the record beside the checkpoint.
        held_out: keys of the patients to be evaluated; the record keeps those of the patients the model has seen.

    Returns:
        The network, in evaluation mode.

    Raises:
        InputError: where there is no checkpoint, it is not a state dict of finite numbers, its shapes or its record do
            not fit, or it has seen a held-out patient.
    """
    file = Path(checkpoint)
    if not file.is_file():
        raise InputError(
            f"{file}: there is no model yet; train one (python -m monai.bundle run training), convert the authors' "
            "checkpoint, or name a model with --checkpoint"
        )
    made_with = read_record(file)
    if made_with is not None:
        _compare_records(file, made_with, json.loads(to_json(record)))
        _refuse_seen(file, made_with, held_out)
    weights = read_tensors(file, "cannot be read as PyTorch weights ({reason}); copy or train the model again")
    _check_shapes(file, weights, network.state_dict())
    network.load_state_dict(weights)
    return network.eval()


def read_record(checkpoint: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The record beside a checkpoint; None, with a warning, where there is none.

    Args:
        checkpoint: the model file.

    Raises:
        InputError: where the record is no JSON object.
    """
    path = record_path(checkpoint)
    if not path.is_file():
        logger.warning("%s: has no %s beside it, so geometry and window cannot be checked", checkpoint, path.name)
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not JSON ({error}); restore the record that belongs to the model") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}: is not the record of a model; restore the one that belongs to it")
    return record


def describe_model(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """What a result says of the model that made it: its record without the patients' keys, its name and its SHA-256.

    Args:
        checkpoint: the model file.

    Returns:
        Entries for a sidecar or a summary; none where there is no model, which `load_model` refuses.
    """
    file = Path(checkpoint)
    if not file.is_file():
        return {}
    record = read_record(file) or {}
    for keys in ("patients", "film_keys"):
        record.pop(keys, None)
    return {**record, "checkpoint": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def check_unseen(checkpoint: str | os.PathLike[str] | None, held_out: Sequence[str], films: Sequence[str] = ()) -> None:
    """Refuse to measure a translator on what it was trained on, as far as the record beside it tells.

    Args:
        checkpoint: the translator's file; None is none.
        held_out: keys of the patients whose CTs it is measured on, see `cohort.patient_keys`.
        films: keys of the films.

    Raises:
        InputError: where it has seen one of them.
    """
    if checkpoint is None or not Path(checkpoint).is_file():
        return
    made_with = read_record(checkpoint) or {}
    _refuse_seen(Path(checkpoint), made_with, held_out)
    seen = set(made_with.get("film_keys", ())) & set(films)
    if seen:
        raise InputError(
            f"{checkpoint}: was trained on {len(seen)} of the {len(films)} films to be measured on; keep some films "
            "back before training, and give those by --film_dir"
        )


def _refuse_seen(file: Path, made_with: Mapping[str, Any], held_out: Sequence[str]) -> None:
    seen = set(made_with.get("patients", ())) & set(held_out)
    if seen:
        raise InputError(
            f"{file}: was trained or chosen on {len(seen)} of the {len(held_out)} patients to be evaluated; evaluate "
            "fold test of the manifest it was trained with"
        )


def _compare_records(file: Path, made_with: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
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
        if not bool(torch.isfinite(weights[name]).all()):
            raise InputError(f"{file}: {name!r} is not finite, so training went wrong; train again at a lower rate")
