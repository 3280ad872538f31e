"""Numbers that the authors' own code produced, and the weights and inputs that it was given.

Weights and inputs are functions of a name and a shape. The numbers are in `../shared/oracle` next to the repository, or
in the folder of the environment variable X2CT_ORACLE.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from pathlib import Path

import numpy as np
import torch

ORACLE = Path(os.environ.get("X2CT_ORACLE", Path(__file__).parents[1] / "../shared/oracle"))
X2CT = ORACLE / "x2ct"
MISSING = f"the oracle is not at {ORACLE.resolve()}: set X2CT_ORACLE"


def random_state(name: str) -> np.random.RandomState:
    """Return the random generator of a name."""
    return np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)


def fill(key: str, shape: list[int]) -> torch.Tensor:
    """Return the weight of an official key."""
    kind = key.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.tensor(0)
    z = random_state(key).standard_normal(shape)
    if kind == "weight":
        z = z * math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 1 + 0.1 * z
    else:
        z = 0.5 + np.abs(z) if kind == "running_var" else 0.1 * z
    return torch.from_numpy(z.astype(np.float32))


def random_input(tag: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Return the input of a tag."""
    return torch.from_numpy(random_state(tag).random_sample(shape).astype(np.float32))


def official_state_dict(keys_name: str, image_size: int = 128) -> dict[str, torch.Tensor]:
    """Return the authors' state dict, filled by rule; only the fully connected layer depends on the image size."""
    listed = json.loads((X2CT / "keys" / f"x2ct_official_keys_{keys_name}.json").read_text())
    shapes = {key: list(entry["shape"]) for key, entry in listed.items()}
    for key, shape in shapes.items():
        if "base_link.0" in key:
            shape[0] = shape[0] * image_size**3 // 128**3
    return {key: fill(key, shape) for key, shape in shapes.items()}


def assert_like_oracle(case: str, tag: str, tensor: torch.Tensor, tolerance: float, stored_as: str = "flat") -> None:
    """Compare an output with its stored samples; `stored_as` is "flat", or "flat64" for their float64 run."""
    stored = np.load(X2CT / f"{case}.npz")
    assert tensor.numel() == stored[f"{tag}/shape"].prod()
    flat = tensor.flatten()[:: int(stored[f"{tag}/step"])].numpy()
    difference = np.abs(flat - stored[f"{tag}/{stored_as}"]).max()
    print(f"{case} {tag}: largest difference {difference:.3g}")
    assert difference <= tolerance
