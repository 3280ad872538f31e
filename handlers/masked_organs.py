"""Measure the organs of predictions against masks that a user has."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine

from conventions import InputError, Keys
from drr import Acquisition
from metrics import (
    COMPARED_MASKS,
    MASK_MEASURES,
    PREDICTIONS,
    cardiothoracic,
    given_mask_figures,
    masks_needed,
    split_lungs,
)
from readers import GivenMasks

from .case_rows import CaseRows, volume_in
from .organs import segment_organs

logger = logging.getLogger("x2ct.evaluation")


class MaskedOrgans:
    """Handler of an evaluator that adds the `masks` figures of `metrics.MEASURES`.

    Masks of the true CT, as TotalSegmentator or a person draws them, are set beside organs that are found in the
    prediction by thresholds: lungs, body, bone, and the width of the heart. Which structures can be compared, and which
    masks are left out, is said once. The figures join `state.metrics` and `state.metric_details`; attach this handler
    before those that write them. A case without masks has no figures, and is warned about.

    Args:
        acquisition: how the radiographs were made; its grid is that of the volumes.
        folder: folder of the masks, as `readers.GivenMasks` reads it; None measures nothing.

    Raises:
        InputError: where the folder cannot be used, or the voxels are no cubes.
    """

    def __init__(self, acquisition: Acquisition, folder: str | os.PathLike[str] | None = None) -> None:
        spacing = acquisition.grid.spacing
        if folder is not None and len(set(spacing)) > 1:
            raise InputError(f"organs are measured on voxels that are cubes, got a spacing of {tuple(spacing)} mm")
        self.grid, self.spacing = acquisition.grid, float(spacing[0])
        self.masks = None if folder is None else GivenMasks(folder)
        self.rows = CaseRows(MASK_MEASURES)
        self.said: set[str] = set()

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        if self.masks is not None:
            self.rows.attach(engine, self._collect)

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            if Keys.LABEL in output:
                self.rows.add(PREDICTIONS[0], self._measure(str(item[Keys.CASE]), output))

    def _measure(self, case: str, output: Mapping[Any, Any]) -> dict[str, float]:
        """Measure a case against its masks; NaN where it has none."""
        names = [] if self.masks is None else self.masks.names(case)
        needed = masks_needed(names)
        self._say(case, names, needed)
        if self.masks is None or not needed:
            return dict.fromkeys(MASK_MEASURES, math.nan)
        affine = output[Keys.PRED].affine.cpu().numpy()
        given = {
            structure: torch.from_numpy(self.masks.read(case, parts, affine, self.grid.shape))[None, None]
            for structure, parts in needed.items()
        }
        prediction = volume_in(output, Keys.PRED)
        found = {name: mask.cpu() for name, mask in segment_organs(prediction, self.spacing).items()}
        sides = split_lungs(found["lung"][0, 0], self.spacing)[:, None, None]
        found |= {"lung_right": sides[0], "lung_left": sides[1]}
        width = float(cardiothoracic(prediction, self.grid)["heart_width_mm"])
        return given_mask_figures(found, given, width, self.spacing)

    def _say(self, case: str, names: list[str], needed: Mapping[str, list[str]]) -> None:
        """Say what can be compared and what cannot, each sentence once."""
        if not names:
            self._once(f"{case}: has no masks, so nothing is measured against any")
            return
        used = {name for parts in needed.values() for name in parts}
        others = sorted(set(names) - used)
        compared = ", ".join(needed) or "nothing"
        self._once(
            f"compared with the given masks: {compared} (of {', '.join(COMPARED_MASKS)}, and the heart's width)",
            logging.INFO,
        )
        if others:
            self._once(
                f"{len(others)} given masks are not used ({', '.join(others[:5])}{' ...' if len(others) > 5 else ''}): "
                "without trained weights these structures cannot be found in a prediction, or parts are missing"
            )

    def _once(self, sentence: str, level: int = logging.WARNING) -> None:
        if sentence not in self.said:
            self.said.add(sentence)
            logger.log(level, "%s", sentence)
