"""Fit the configs of the bundle to one model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conventions import InputError

_ROOT = Path(__file__).resolve().parent.parent


def bundle_folder() -> Path:
    """Return the folder of the bundle: in the repository, in an installation, or the archive around this package."""
    return _ROOT / "bundle" if (_ROOT / "bundle").is_dir() else _ROOT.parent


def config_for_model(content: dict[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Set in a config what the record of a model says, so that the model needs no overlays.

    Args:
        content: the config; changed in place.
        record: the record of the model.

    Returns:
        The config.

    Raises:
        InputError: where the acquisition is not one that the configs describe.
    """
    acquisition = record["acquisition"]
    grid, detector = acquisition["grid"], list(acquisition["detector_shape"])
    side, spacing = grid["shape"][0], grid["spacing"][0]
    if (
        not isinstance(acquisition["geometry"], str)
        or set(grid["shape"]) != {side}
        or set(grid["spacing"]) != {spacing}
    ):
        raise InputError(
            "the configs describe a cube and a preset of views; this model was made for another acquisition"
        )
    content.update({name: acquisition[name] for name in ("geometry", "views", "curve", "film_style", "anchor")})
    content.update({"image_size": side, "cube_mm": side * spacing, "hu_window": record["hu_window"]})
    if detector != [side, side]:
        content["acquisition"]["detector_shape"] = detector
    arguments = record["network"]["arguments"]
    by_name = {"image_size": "@image_size", "views": "@views", "geometry": "@geometry"}
    said = {"image_size": side, "views": acquisition["views"], "geometry": acquisition["geometry"]}
    content["network_def"] = {
        **{
            key: value
            for key, value in content["network_def"].items()
            if key in ("_target_", "_requires_", "checkpoint")
        },
        "name": record["network"]["name"],
        **{name: by_name[name] if said.get(name, ...) == value else value for name, value in arguments.items()},
    }
    return content
