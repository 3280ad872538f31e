"""The model that is used where none is named: one that was trained here, else the starter weights."""

from __future__ import annotations

import copy
import logging
import os
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from conventions import InputError
from networks import read_record
from storage import current_workflow

from .model_config import bundle_folder, config_for_model

STARTER = "starter"
"""Name by which a command or a config is given the starter weights."""

logger = logging.getLogger("x2ct.export")

FilePath = str | os.PathLike[str]


def starter_weights() -> Path:
    """Return the file of the starter weights, which an archive and an installation of another model lack."""
    return bundle_folder() / "models" / f"{STARTER}.pt"


def find_model(checkpoint: FilePath | None = None) -> Path:
    """Find the model that a command is given, and say which one it is where none was named.

    Args:
        checkpoint: the model file, or `starter`; None takes the model of the bundle, which training or an archive put
            there, and where there is none the starter weights.

    Returns:
        The model file.

    Raises:
        InputError: where there is no such file.
    """
    if checkpoint is None:
        model = bundle_folder() / "models" / "model.pt"
        if model.is_file():
            logger.warning("no model was named, so %s is used", model)
            return model
    if checkpoint is None or str(checkpoint) == STARTER:
        file = _checked(starter_weights())
        _announce(file, named=checkpoint is not None)
        return file
    if not Path(checkpoint).is_file():
        raise InputError(f"{checkpoint}: there is no such model; give the file of one, with its record next to it")
    return Path(checkpoint)


def use_starter(job: str, by_default: bool = False) -> None:
    """Fit the config that is being evaluated to the starter weights, where it is to use them.

    That is where `checkpoint` is `starter`, or, with `by_default`, where neither a model nor a place for one was named
    and none was trained. Keys that the record of the weights does not state stay as they are, and so do those that
    were given another value, which `networks.load` refuses.

    Args:
        job: name of the config before overlays and options, in the same folder.
        by_default: as above.

    Raises:
        InputError: where the starter weights are named and missing.
    """
    workflow = current_workflow()
    if workflow is None:
        return  # a single component, as for MONAI Label
    parser = workflow.parser
    plain = ConfigParser.load_config_file(str(workflow.config_root_path / f"{job}.json"))
    named = parser["checkpoint"] == STARTER
    if not named and not (by_default and _none_is_meant(parser, plain)):
        return
    file = _checked(starter_weights())
    fitted = config_for_model(copy.deepcopy(plain), read_record(file))
    changed = {key: value for key, value in fitted.items() if value != plain[key]}
    free = {key: value for key, value in changed.items() if parser[key] == plain[key]}
    if not named and any(parser[key] != value for key, value in changed.items() if key not in free):
        return  # the config is that of another model, which `networks.load` misses
    _announce(file, named)
    parser.update({**free, "checkpoint": str(file)})


def _none_is_meant(parser: ConfigParser, plain: dict[str, Any]) -> bool:
    """Return whether a config names no model, and there is none at the place where training leaves one."""
    if any(parser[key] != plain[key] for key in ("checkpoint", "ckpt_dir")):
        return False
    return starter_weights().is_file() and not Path(parser.get_parsed_content("checkpoint")).is_file()


def _checked(file: Path) -> Path:
    if not file.is_file():
        raise InputError(f"{file}: there are no starter weights here; name a model by --checkpoint")
    return file


def _announce(file: Path, named: bool) -> None:
    """Say that the starter weights are used, and why where nobody asked for them."""
    why = "" if named else "no model was named: "
    logger.warning("%sthe starter weights (%s) are used, which are for trying, not for medical use", why, file)
