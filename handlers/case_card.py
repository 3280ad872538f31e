"""Measure each case of an evaluation by tissue, organ and radiograph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from ignite.engine import Engine

from conventions import InputError, Keys
from drr import Acquisition, preset
from metrics import (
    HU_ERRORS,
    MEASURES,
    ORGANS,
    PREDICTIONS,
    CentreLines,
    cardiothoracic,
    centre_line_distances,
    centre_lines,
    false_structure,
    hu_errors,
    lung_volumes,
    mask_agreement,
    psnr_2048,
    reprojection_error,
    structure_map,
    synthrad_metrics,
)

from .case_rows import CaseRows, volume_in
from .organs import segment_organs

CARD = (
    *(name for name in MEASURES if MEASURES[name].protocol in ("clinical", "synthrad2025")),
    *(name for name in HU_ERRORS if name != "mae_hu"),
    "psnr_2048_db",
)
"""Names of the figures that a card holds."""

HELD_OUT_VIEW = "oblique_45"
"""View by which a prediction is tested; no model reads it."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What a volume shows by itself, whatever it is compared with."""

    organs: dict[str, torch.Tensor]
    """Organ, of `metrics.ORGANS` -> its mask (1, 1, D, H, W)."""
    figures: dict[str, torch.Tensor]
    """Volumes of the lungs, widths of thorax and heart."""
    lines: CentreLines
    """Centre lines of spine and ribs."""


class CaseCard:
    """Handler of an evaluator that adds the `clinical` and `synthrad2025` figures of `metrics.MEASURES`.

    Errors in HU by tissue and the PSNR at 2048 HU are among its figures. Volumes are expected in HU, so the evaluator's
    postprocessing has run. The figures join `state.metrics`, as means over the cases in which they could be measured,
    and `state.metric_details`; attach this handler before those that write them. Errors of volumes and widths are
    predicted less true.

    Args:
        acquisition: how the radiographs were made; its grid is that of the volumes.

    Raises:
        InputError: where the voxels are no cubes.
    """

    def __init__(self, acquisition: Acquisition) -> None:
        spacing = acquisition.grid.spacing
        if len(set(spacing)) > 1:
            raise InputError(f"organs are measured on voxels that are cubes, got a spacing of {tuple(spacing)} mm")
        self.acquisition, self.spacing = acquisition, float(spacing[0])
        named = acquisition.geometry if isinstance(acquisition.geometry, str) else "chest"
        self.held_out = preset(named, acquisition.detector_shape, [HELD_OUT_VIEW])
        self.rows = CaseRows(CARD)
        self._mean: tuple[torch.Tensor, Findings] | None = None

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        self.rows.attach(engine, self._collect)

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            if Keys.LABEL not in output:
                continue
            truth = volume_in(output, Keys.LABEL)
            true = self.find(truth)
            for key in PREDICTIONS:
                if key in output:
                    volume = volume_in(output, key)
                    if not volume.isfinite().all():
                        raise InputError(
                            f"{item[Keys.CASE]}: the volume of {key.value!r} is not finite, so the model is broken; "
                            "train it again"
                        )
                    found = self._find_mean(volume) if key == Keys.MEAN_VOLUME else self.find(volume)
                    self.rows.add(key, self.card(volume, truth, found, true))

    def find(self, volume_hu: torch.Tensor) -> Findings:
        """Segment and measure a volume (1, 1, D, H, W)."""
        organs = segment_organs(volume_hu, self.spacing)
        figures = {**lung_volumes(organs["lung"], self.spacing), **cardiothoracic(volume_hu, self.acquisition.grid)}
        lines = centre_lines(volume_hu[0, 0], organs["bone"][0, 0], organs["body"][0, 0], self.spacing)
        return Findings(organs, figures, lines)

    def _find_mean(self, volume_hu: torch.Tensor) -> Findings:
        """Do the same with the mean training volume, once for all cases."""
        if self._mean is None or not torch.equal(self._mean[0], volume_hu):
            self._mean = volume_hu, self.find(volume_hu)
        return self._mean[1]

    def card(self, prediction: torch.Tensor, truth: torch.Tensor, found: Findings, true: Findings) -> dict[str, float]:
        """Measure a prediction (1, 1, D, H, W) in HU against the truth, given what both show by themselves."""
        body = true.organs["body"]
        values = {**hu_errors(prediction, truth, body), **synthrad_metrics(prediction, truth, body)}
        values["psnr_2048_db"] = psnr_2048(prediction, truth)
        for organ in ORGANS:
            compared = mask_agreement(found.organs[organ], true.organs[organ], self.spacing)
            values.update({f"{organ}_{name}": value for name, value in compared.items()})
        own = true.figures
        values.update({f"{name}_error": found.figures[name].cpu() - own[name].cpu() for name in own})
        grid, curve = self.acquisition.grid, self.acquisition.curve
        for name, views in (("shown", self.acquisition.views), ("oblique", self.held_out)):
            values[f"reprojection_{name}"] = reprojection_error(prediction, truth, grid, views, curve).mean(1)
        values["false_structure"] = false_structure(structure_map(prediction, truth, body))
        figures = {name: float(value) for name, value in values.items()}
        figures |= centre_line_distances(found.lines, true.lines)
        return {name: figures[name] for name in CARD}
