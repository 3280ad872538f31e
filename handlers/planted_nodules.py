"""Plant nodules in the true CTs of an evaluation and measure what is left of them in the predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from ignite.engine import Engine

from conventions import InputError, Keys
from drr import Acquisition, hu_to_mu, project
from metrics import NODULE_MEASURES, PREDICTIONS, Nodule, contrast_left, nodule_sites, plant, shadow_contrast
from readers import lung_mask
from transforms import RayCastDRR

from .case_rows import CaseRows, volume_in
from .prediction import predict_item


class PlantedNodules:
    """Handler of an evaluator that adds the `nodules` figures of `metrics.MEASURES`.

    Nodules of `metrics.NODULE_DIAMETERS_MM` are planted at random sites of the lungs of each true CT, all of them at
    once, its radiographs are rendered and the network predicts them; what it predicts without nodules is subtracted.
    Both times the CT is as the evaluator holds it, clipped to the window. The figures join `state.metrics` and
    `state.metric_details`; attach this handler before those that write them.

    Args:
        acquisition: how the radiographs are made; its grid is that of the volumes.
        postprocessing: transform of an item with `pred`, `image` and `geometry` that brings `pred` to HU, the
            evaluator's own.
        count: number of times that nodules are planted in each CT, at other sites. Each costs a prediction, and one
            more is needed for the CT without nodules. 0 measures nothing.

    Raises:
        InputError: where the count is negative or the voxels are no cubes.
    """

    def __init__(self, acquisition: Acquisition, postprocessing: Callable[[Any], Any], count: int = 0) -> None:
        spacing = acquisition.grid.spacing
        if count < 0:
            raise InputError(f"nodules cannot be planted {count} times; give --nodules a number from 0")
        if count and len(set(spacing)) > 1:
            raise InputError(f"nodules are planted in voxels that are cubes, got a spacing of {tuple(spacing)} mm")
        self.acquisition, self.spacing = acquisition, float(spacing[0])
        self.postprocessing, self.count = postprocessing, count
        self.render = RayCastDRR(acquisition)
        self.rows = CaseRows(NODULE_MEASURES)

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        if self.count:
            self.rows.attach(engine, self._collect)

    def _collect(self, engine: Any) -> None:
        with engine.mode(engine.network):
            for output in engine.state.output:
                if Keys.LABEL in output:
                    truth = volume_in(output, Keys.LABEL)
                    self.rows.add(PREDICTIONS[0], self.figures(truth, lambda volume: self._predict(engine, volume)))

    def _predict(self, engine: Any, volume_hu: torch.Tensor) -> torch.Tensor:
        """Predict a volume (1, 1, D, H, W) in HU from the radiographs of another."""
        image = self.render(volume_hu).as_tensor()[0]
        item = {Keys.IMAGE.value: image, Keys.GEOMETRY.value: self.acquisition.geometry_tensor()}
        return predict_item(engine, item, self.postprocessing)

    def figures(self, truth: torch.Tensor, predict: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Measure a case.

        Args:
            truth: the true volume (1, 1, D, H, W) in HU.
            predict: such a volume -> what is predicted from its radiographs, in HU.

        Returns:
            Name, of `NODULE_MEASURES` -> mean over the times; NaN where there was no room for a nodule.
        """
        volume = truth[0, 0]
        lungs = torch.from_numpy(lung_mask(volume.cpu().numpy(), self.spacing))
        before = predict(truth)[0, 0]
        found = []
        for number in range(self.count):
            nodules = nodule_sites(lungs, self.spacing, seed=number)
            planted = plant(volume, nodules, self.spacing)
            change = predict(planted[None, None])[0, 0] - before
            kept = contrast_left(change, planted - volume, nodules, self.spacing)
            found.append(torch.stack([kept, self._shadows(volume, nodules)], 1))
        means = torch.stack(found).nanmean(0).flatten()
        return dict(zip(NODULE_MEASURES, means.tolist(), strict=True))

    def _shadows(self, volume: torch.Tensor, nodules: Sequence[Nodule | None]) -> torch.Tensor:
        """Measure what each nodule alone changes in the view that shows it best: (nodules,) float64."""
        without = self._lines(volume)
        return torch.tensor(
            [
                torch.nan
                if nodule is None
                else float(shadow_contrast(self._lines(plant(volume, [nodule], self.spacing)), without).amax())
                for nodule in nodules
            ],
            dtype=torch.float64,
        )

    def _lines(self, volume: torch.Tensor) -> torch.Tensor:
        """Compute the line integrals of a volume (D, H, W): (1, views, rows, columns)."""
        mu = hu_to_mu(volume[None, None], self.acquisition.curve)
        return project(mu, self.acquisition.grid, self.acquisition.views)
