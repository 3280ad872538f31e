"""Predict from real films of the patients of an evaluation, and measure how far that falls behind their DRRs."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine
from monai.utils import convert_to_numpy

from conventions import InputError, Keys, input_error_in
from drr import Acquisition
from metrics import (
    FILM_MEASURES,
    MOTION_MEASURES,
    PREDICTIONS,
    align_lungs,
    cardiothoracic,
    lung_volumes,
    mask_agreement,
    move,
    psnr,
)
from readers import lung_mask, unpack_films
from reports import film_figure, save_figure
from storage import set_aside

from .case_rows import CaseRows, volume_in
from .own_cases import OwnCases
from .prediction import predict_item

logger = logging.getLogger("x2ct.evaluation")


class FilmGap:
    """Handler of an evaluator that adds the `films` figures of `metrics.MEASURES`.

    Real films of a case are read as in inferring and the network predicts a CT from them. It is moved so that its lungs
    lie on those of the true CT, since nobody knows where the patient stood; what was predicted from the DRRs of the CT
    is moved by its own lungs in the same way, and both are measured where both lie in the cube. Volumes of lungs are
    measured before. `<case>.png` shows the films, what the network was shown of them, and the predicted CT. The figures
    join `state.metrics` and `state.metric_details`; attach this handler before those that write them.

    A case without films has no figures. Films that cannot be read, and lungs that are not found, are warned about.

    Args:
        acquisition: how the radiographs were made; its grid is that of the volumes.
        postprocessing: as in `PlantedNodules`.
        output_dir: folder of the pictures; files of an earlier run are renamed.
        preprocessing: transform of {"image": paths of films} as `transforms.film_transforms` returns it; needed where
            there are films.
        films: case -> such an item, with `days` from the CT to the films; None measures nothing.
        window: (low, high) in HU to which the volumes were clipped; its width is the peak of PSNR.

    Raises:
        InputError: where the voxels are no cubes.
    """

    def __init__(
        self,
        acquisition: Acquisition,
        postprocessing: Callable[[Any], Any],
        output_dir: str | os.PathLike[str],
        preprocessing: Callable[[Any], Any] | None = None,
        films: Mapping[str, Mapping[str, Any]] | None = None,
        window: tuple[float, float] = (-1024, 1476),
    ) -> None:
        spacing = acquisition.grid.spacing
        if films is not None and len(set(spacing)) > 1:
            raise InputError(f"lungs are aligned in voxels that are cubes, got a spacing of {tuple(spacing)} mm")
        self.grid, self.spacing = acquisition.grid, float(spacing[0])
        self.postprocessing, self.preprocessing = postprocessing, preprocessing
        self.output_dir, self.films = Path(output_dir), films
        self.peak = float(window[1]) - float(window[0])
        self.own_cases = OwnCases()
        self.rows = CaseRows(FILM_MEASURES)

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        if self.films is not None:
            self.rows.attach(engine, self._collect)

    def _collect(self, engine: Any) -> None:
        draws = self.own_cases.asked(engine, str(engine.state.batch[0][Keys.CASE]))
        with engine.mode(engine.network):
            for item, output in zip(engine.state.batch, engine.state.output, strict=True):
                if Keys.LABEL in output:
                    self.rows.add(PREDICTIONS[0], self._measure(engine, str(item[Keys.CASE]), output, draws))

    def _measure(self, engine: Any, case: str, output: Mapping[Any, Any], draws: bool) -> dict[str, float]:
        """Predict a case from its films and measure it; NaN where there are none or they cannot be used."""
        nothing = dict.fromkeys(FILM_MEASURES, math.nan)
        if self.films is None or self.preprocessing is None or case not in self.films:
            return nothing
        try:
            read = self.preprocessing(dict(self.films[case]))
        except Exception as error:
            sentence = input_error_in(error)
            if sentence is None:
                raise
            logger.warning("%s: nothing is measured on its films: %s", case, sentence)
            return nothing
        predicted = predict_item(engine, read, self.postprocessing)
        if draws:
            self._draw(case, read, predicted)
        found = self.figures(predicted, volume_in(output, PREDICTIONS[0]), volume_in(output, Keys.LABEL))
        if math.isnan(found["film_psnr_db"]):
            logger.warning(
                "%s: no lungs are recognised in a predicted or in the true CT, so they cannot be aligned", case
            )
        return {**found, "film_days": float(self.films[case]["days"])}

    def figures(self, from_films: torch.Tensor, from_drrs: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
        """Measure a case.

        Args:
            from_films: volume (1, 1, D, H, W) in HU that was predicted from real films.
            from_drrs: the same from the DRRs of the CT.
            truth: the CT.

        Returns:
            Name, of `FILM_MEASURES` -> value, NaN where it could not be measured; `film_days` is NaN.
        """
        volumes = (from_films, from_drrs, truth)
        lungs = [torch.from_numpy(lung_mask(v[0, 0].cpu().numpy(), self.spacing))[None, None] for v in volumes]
        motions = [align_lungs(lungs[i][0, 0], lungs[2][0, 0], self.spacing) for i in range(2)]
        values: dict[str, Any] = dict.fromkeys(FILM_MEASURES, math.nan)
        # Lungs that are not recognised, such as those of pure air, have no volume to compare.
        total, total_drr, total_true = (
            float(lung_volumes(mask, self.spacing)["lung_total_ml"]) or math.nan for mask in lungs
        )
        values |= {"film_lung_total_ml_error": total - total_true, "film_lung_total_ml_gap": total - total_drr}
        if motions[0] is not None:
            numbers = zip(MOTION_MEASURES, motions[0].numbers(), strict=True)
            values.update({f"film_{name}": value for name, value in numbers})
        if motions[0] is not None and motions[1] is not None:
            moved = [move(v[0, 0], m, self.spacing) for v, m in zip(volumes[:2], motions, strict=True) if m is not None]
            values.update(self._aligned([volume[None, None] for volume, _ in moved], moved[0][1] & moved[1][1], truth))
        return {name: float(value) for name, value in values.items()}

    def _aligned(self, moved: list[torch.Tensor], covered: torch.Tensor, truth: torch.Tensor) -> dict[str, Any]:
        """Measure volumes (1, 1, D, H, W) that were moved onto the true CT, where both are covered."""
        inside = covered[None, None]
        own, drr = (psnr(volume[inside][None], truth[inside][None], self.peak) for volume in moved)
        ratio, ratio_drr, ratio_true = (
            cardiothoracic(volume, self.grid)["cardiothoracic_ratio"] for volume in (*moved, truth)
        )
        lungs, true_lungs = (
            torch.from_numpy(lung_mask(volume[0, 0].cpu().numpy(), self.spacing))[None, None]
            for volume in (moved[0], truth)
        )
        overlap = mask_agreement(lungs, true_lungs, self.spacing)
        return {
            "film_psnr_db": own,
            "film_drr_psnr_db": drr,
            "film_gap_db": drr - own,
            "film_lung_dice": overlap["dice"],
            "film_cardiothoracic_ratio_error": ratio - ratio_true,
            "film_cardiothoracic_ratio_gap": ratio - ratio_drr,
        }

    def _draw(self, case: str, item: Mapping[Any, Any], predicted: torch.Tensor) -> None:
        path = self.output_dir / f"{case}.png"
        set_aside(path)
        image = convert_to_numpy(item[Keys.IMAGE])
        volume = predicted[0, 0].cpu().numpy()
        save_figure(film_figure(unpack_films(item), image, volume, f"{case}: synthetic CT from real films"), path)
