"""Write how well expected errors are calibrated."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.utils import evenly_divisible_all_gather, string_list_all_gather

from conventions import Keys
from metrics import BANDS, KEPT, LAPLACE_SHARES, calibration
from storage import set_aside, write_atomically

VOLUMES = ("predicted", "updated")
"""Volumes of a case: the network's own, and the one after the consistency update."""


class CalibrationTable:
    """Handler of an evaluator that writes `calibration.csv`, where the network estimates its errors.

    One row for each volume of a case, the network's own and, where there is one, the volume after the update: the share
    of voxels whose error lies within one, two and three times the expected one, and the mean absolute error in HU of
    the voxels with the smallest expected errors. Then the means, and what a Laplace distribution says. Volumes are
    expected in HU, so the evaluator's postprocessing has run. With several processes, the first one writes.

    Args:
        output_dir: folder of the file; a file of an earlier run is renamed.
    """

    def __init__(self, output_dir: str | os.PathLike[str]) -> None:
        self.path = Path(output_dir) / "calibration.csv"
        self.cases: list[str] = []
        self.rows: list[torch.Tensor] = []

    def attach(self, engine: Engine) -> None:
        """Register with an engine."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.cases, self.rows = [], []

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            if Keys.EXPECTED_ERROR in output and Keys.LABEL in output:
                own = self._row(output, output.get(Keys.WITHOUT_UPDATE, output[Keys.PRED]))
                updated = Keys.WITHOUT_UPDATE in output
                after = self._row(output, output[Keys.PRED]) if updated else torch.full_like(own, torch.nan)
                self.cases.append(str(item[Keys.CASE]))
                self.rows.append(torch.stack([own, after], 1).cpu())

    @staticmethod
    def _row(output: Mapping[str, Any], volume: torch.Tensor) -> torch.Tensor:
        """Return the numbers of a volume, (1, bands + kept)."""
        volumes = (output[Keys.EXPECTED_ERROR], volume, output[Keys.LABEL])
        return torch.cat(calibration(*(torch.as_tensor(v)[None] for v in volumes)), 1)

    def _write(self, engine: Engine) -> None:
        if not self.rows:
            return
        cases = string_list_all_gather(self.cases)
        values = evenly_divisible_all_gather(torch.cat(self.rows).to(idist.device())).cpu()
        if idist.get_rank() > 0:
            return
        rows = dict(zip(cases, values, strict=True))  # a case that several processes had counts once
        rows["mean"] = torch.stack(list(rows.values())).nanmean(0)
        set_aside(self.path)
        write_atomically(self.path, lambda part: _write_csv(part, rows))


def _write_csv(path: Path, rows: Mapping[str, torch.Tensor]) -> None:
    """Write rows (volumes, numbers), NaN for a volume that is not there."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        within = [f"within_{band:g}" for band in BANDS]
        table.writerow([Keys.CASE, "volume", *within, *(f"mae_hu_of_surest_{share:.0%}" for share in KEPT)])
        for name, values in rows.items():
            for volume, row in zip(VOLUMES, values.tolist(), strict=True):
                if not math.isnan(row[0]):
                    shares, errors = row[: len(BANDS)], row[len(BANDS) :]
                    texts = [*(f"{share:.4f}" for share in shares), *(f"{error:.2f}" for error in errors)]
                    table.writerow([name, volume, *texts])
        table.writerow(["laplace", "", *LAPLACE_SHARES, *[""] * len(KEPT)])
