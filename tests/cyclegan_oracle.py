"""Numbers of the official CycleGAN, and the parameters and images they were produced from: functions of a name."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import numpy as np
import torch

from tests.oracle import ORACLE

CYCLEGAN = ORACLE / "cyclegan"


def _fill() -> Any:
    spec = importlib.util.spec_from_file_location("cyclegan_fill", CYCLEGAN / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(name: str) -> Any:
    """A JSON file of the oracle."""
    return json.loads((CYCLEGAN / f"{name}.json").read_text())


def parameters(spec: list[Any], prefix: str) -> dict[str, torch.Tensor]:
    """An official state dict: (key, shape) -> tensors."""
    return {key: torch.from_numpy(np.asarray(_fill().param(key, tuple(shape), prefix))) for key, shape in spec}


def image(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """An image in [-1, 1]."""
    return torch.from_numpy(_fill().image(name, shape))


def values(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Numbers in (-1, 1), float64."""
    return torch.from_numpy(_fill().value(name, shape))
