"""Decide which model is served: the one the server was started with, or one that it trained since."""

from __future__ import annotations

import json
from pathlib import Path

from storage import write_json

POINTER = "served.json"
"""File next to the model of a server that names a model to serve in its place."""


def served_model(checkpoint: str | Path) -> Path:
    """Return the model to predict with.

    Args:
        checkpoint: the model that the server was started with.

    Returns:
        The model that was trained last; the given one where none was, or it was taken away.
    """
    first = Path(checkpoint)
    try:
        named = json.loads((first.parent / POINTER).read_text(encoding="utf-8"))["checkpoint"]
        trained = first.parent / str(named)
    except (OSError, ValueError, KeyError, TypeError):
        return first
    return trained if trained.is_file() else first


def serve(checkpoint: str | Path, trained: Path) -> None:
    """Serve a trained model from now on. It is one file that changes, so weights and record never come apart.

    Args:
        checkpoint: the model that the server was started with, which stays as it is.
        trained: the model to serve, below the folder of the first.
    """
    first = Path(checkpoint)
    write_json(first.parent / POINTER, {"checkpoint": str(trained.relative_to(first.parent))})
