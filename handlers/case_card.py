"""Measure each case of an evaluation by tissue, organ and radiograph."""

from __future__ import annotations

import torch
from ignite.engine import Engine

from conventions import InputError, Keys
from drr import Acquisition, preset
from metrics import (
    HU_ERRORS,
    MEASURES,
    ORGANS,
    PREDICTIONS,
    cardiothoracic,
    false_structure,
    hu_errors,
    lung_volumes,
    mask_agreement,
    psnr_2048,
    reprojection_error,
    structure_map,
    synthrad_metrics,
)
from readers import body_mask, bone_mask, lung_mask

from .case_rows import CaseRows, volume_in

CARD = (
    *(name for name in MEASURES if MEASURES[name].protocol in ("clinical", "synthrad2025")),
    *(name for name in HU_ERRORS if name != "mae_hu"),
    "psnr_2048_db",
)
"""Names of the figures that a card holds."""

HELD_OUT_VIEW = "oblique_45"
"""View by which a prediction is tested; no model reads it."""


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

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        self.rows.attach(engine, self._collect)

    def _collect(self, engine: Engine) -> None:
        for output in engine.state.output:
            if Keys.LABEL not in output:
                continue
            truth = volume_in(output, Keys.LABEL)
            organs = self.organs(truth)
            own = self.own_figures(truth, organs["lung"])
            for key in PREDICTIONS:
                if key in output:
                    self.rows.add(key, self.card(volume_in(output, key), truth, organs, own))

    def organs(self, volume_hu: torch.Tensor) -> dict[str, torch.Tensor]:
        """Segment lungs, body and bones of a volume (1, 1, D, H, W), each of that shape."""
        array = volume_hu[0, 0].cpu().numpy()
        lungs = lung_mask(array, self.spacing)
        body = body_mask(array, self.spacing) | lungs  # a lung that the cube cuts leaves the body open
        bones = bone_mask(array, self.spacing) & body
        masks = dict(zip(ORGANS, (lungs, body, bones), strict=True))
        return {organ: torch.from_numpy(mask)[None, None].to(volume_hu.device) for organ, mask in masks.items()}

    def own_figures(self, volume_hu: torch.Tensor, lungs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Measure what a volume (1, 1, D, H, W) shows by itself: volumes of the lungs, widths of thorax and heart."""
        return {**lung_volumes(lungs, self.spacing), **cardiothoracic(volume_hu, self.acquisition.grid)}

    def card(
        self,
        prediction: torch.Tensor,
        truth: torch.Tensor,
        organs: dict[str, torch.Tensor],
        own: dict[str, torch.Tensor],
    ) -> dict[str, float]:
        """Measure one prediction (1, 1, D, H, W) in HU against the truth, its organs and its own figures."""
        found = self.organs(prediction)
        values = {**hu_errors(prediction, truth, organs["body"]), **synthrad_metrics(prediction, truth, organs["body"])}
        values["psnr_2048_db"] = psnr_2048(prediction, truth)
        for organ in ORGANS:
            compared = mask_agreement(found[organ], organs[organ], self.spacing)
            values.update({f"{organ}_{name}": value for name, value in compared.items()})
        shown = self.own_figures(prediction, found["lung"])
        values.update({f"{name}_error": shown[name].cpu() - own[name].cpu() for name in own})
        grid, curve = self.acquisition.grid, self.acquisition.curve
        for name, views in (("shown", self.acquisition.views), ("oblique", self.held_out)):
            values[f"reprojection_{name}"] = reprojection_error(prediction, truth, grid, views, curve).mean(1)
        values["false_structure"] = false_structure(structure_map(prediction, truth, organs["body"]))
        return {name: float(values[name]) for name in CARD}
