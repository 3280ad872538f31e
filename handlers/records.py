"""Describe a training run: its models, its dependencies, and what must not change when it is resumed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from drr import Acquisition
from networks import describe_model, make_record, read_record, read_weights

from .run_recorder import describe_run
from .run_settings import run_settings


@dataclass(frozen=True)
class TrainingRecords:
    """The three records of a training run.

    Attributes:
        model: record of its models, as `networks.make_record` returns it.
        run: what the run depends on, as `describe_run` returns it.
        settings: what must not differ between the run and the one it continues, as `run_settings` returns it.
    """

    model: dict[str, Any]
    run: dict[str, Any]
    settings: dict[str, Any]


def training_records(
    network: nn.Module,
    acquisition: Acquisition,
    hu_window: Sequence[float],
    data: Mapping[str, Any],
    manifest: str | os.PathLike[str],
    seed: int = 0,
    batch_size: int = 1,
    initial_model: str | os.PathLike[str] | None = None,
) -> TrainingRecords:
    """Describe a training run of a generator.

    Args:
        network: made by `networks.build_network`.
        acquisition: how its radiographs are made.
        hu_window: (low, high) in HU that becomes [0, 1].
        data: what `cohort.describe_data` returned.
        manifest: manifest of the cohort.
        seed: seed of the run.
        batch_size: cases in a batch of each process.
        initial_model: model file whose weights the run begins with. The record names it, and adds its patients to those
            that the new model has seen.

    Raises:
        InputError: where the initial model or its record is missing or damaged.
    """
    if initial_model is not None:
        read_weights(initial_model)  # refuses one that is missing or damaged
        described = describe_model(initial_model)
        data = {
            **data,
            "patients": sorted({*data.get("patients", ()), *read_record(initial_model).get("patients", ())}),
            "initial_model": {name: described[name] for name in ("checkpoint", "sha256")},
        }
    model = make_record(network, acquisition, hu_window, data, seed=seed)
    run = {**describe_run(manifest, seed), "initial_model": model.get("initial_model")}
    return TrainingRecords(model, run, run_settings(model, run, batch_size))


def translation_records(
    network: nn.Module,
    acquisition: Acquisition,
    data: Mapping[str, Any],
    manifest: str | os.PathLike[str],
    method: str,
    options: Mapping[str, Any],
    seed: int = 0,
    batch_size: int = 1,
) -> TrainingRecords:
    """Describe a training run of translators.

    Args:
        network: the generator from films to DRRs, made by `networks.build_network`.
        acquisition: how the DRRs are made; its detector has the size of the images.
        data: what `cohort.describe_unpaired` returned.
        manifest: manifest of the cohort of CTs.
        method: "cyclegan" or "fastcut".
        options: name -> value of the method's weights.
        seed: seed of the run.
        batch_size: pairs in a batch of each process.
    """
    model = make_record(network, acquisition, None, data, method=method, options=dict(options), seed=seed)
    run = describe_run(manifest, seed)
    settings = {"method": method, "options": dict(options), "films": data["data"]["films"]}
    return TrainingRecords(model, run, {**run_settings(model, run, batch_size), **settings})
