"""Name the settings that must not differ between a training run and the one it continues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist


def run_settings(model_record: Mapping[str, Any], run_record: Mapping[str, Any], batch_size: int) -> dict[str, Any]:
    """Return the settings that `Resume` compares.

    Args:
        model_record: what `networks.make_record` returned.
        run_record: what `describe_run` returned.
        batch_size: cases in a batch of each process.

    Returns:
        Network, acquisition, HU window (None for a translator), seed, batch size, number of processes, the SHA-256 of
        the manifest, and the model whose weights it began with.
    """
    return {
        "network": model_record["network"],
        "acquisition": model_record["acquisition"],
        "hu_window": model_record.get("hu_window"),
        "seed": run_record["seed"],
        "batch_size": batch_size,
        "world_size": idist.get_world_size(),
        "manifest": run_record["manifest_sha256"],
        "initial_model": model_record.get("initial_model"),
    }
