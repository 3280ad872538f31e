import json
import math

import pytest
import torch
from torch import nn

from cohort import thorax_phantom
from conventions import InputError
from drr import Acquisition, VolumeGrid
from engines import X2CTEvaluator
from handlers import EvaluationSummary, PlantedNodules
from metrics import NODULE_DIAMETERS_MM, NODULE_MEASURES, volume_metrics
from transforms import prediction_transforms

SPACING = 5.0
ACQUISITION = Acquisition(grid=VolumeGrid(64, SPACING), detector_shape=64)
KEPT = [f"nodule_{diameter:g}mm_kept" for diameter in NODULE_DIAMETERS_MM]
SHADOW = [f"nodule_{diameter:g}mm_shadow" for diameter in NODULE_DIAMETERS_MM]


class BackProjection(nn.Module):
    """Smears the PA along its rays, bright where it is dense; or ignores it."""

    def __init__(self, reads=True):
        super().__init__()
        self.reads, self.calls = reads, 0

    def forward(self, image, geometry=None):
        assert not self.training
        assert geometry.shape == (1, 2, 4, 3)
        self.calls += 1
        shown = image[:, 0] if self.reads else torch.zeros_like(image[:, 0])
        return shown[:, None, :, None].expand(-1, -1, -1, 64, -1)


@pytest.fixture(scope="module")
def chest():
    """A phantom in HU, (1, 1, 64, 64, 64)."""
    return torch.from_numpy(thorax_phantom(1, (64, 64, 64), SPACING).volume_hu)[None, None].float().clamp(-1024, 1476)


@pytest.mark.parametrize("share", [1.0, 0.4, 0.0])
def test_what_a_model_keeps_of_nodules_is_found(chest, share):
    """A model that knows the chest, and keeps a share of what is new in it, on top of an error of its own."""
    handler = PlantedNodules(ACQUISITION, prediction_transforms(), count=2)
    figures = handler.figures(chest, lambda volume: chest + share * (volume - chest) + 80.0)
    assert list(figures) == list(NODULE_MEASURES)
    assert [figures[name] for name in KEPT] == pytest.approx([share] * len(KEPT), abs=1e-5)
    shadows = [figures[name] for name in SHADOW]
    assert shadows == sorted(shadows)
    # A row of voxels through a chest 200 mm deep of which 32 mm became water instead of air: some tenths at most.
    assert 0.0005 < shadows[0] < 0.02 < shadows[-1] < 0.5


def evaluate(folder, chest, network, count):
    batch = {
        "image": torch.zeros(1, 2, 64, 64),
        "label": (chest + 1024) / 2500,
        "geometry": torch.zeros(1, 2, 4, 3),
        "case": ["case_0"],
    }
    X2CTEvaluator(
        "cpu",
        [batch],
        network,
        postprocessing=prediction_transforms(),
        key_val_metric=volume_metrics(),
        val_handlers=[PlantedNodules(ACQUISITION, prediction_transforms(), count), EvaluationSummary(folder)],
    ).run()
    return json.loads((folder / "evaluation.json").read_text())


@pytest.mark.parametrize("reads", [True, False])
def test_a_network_is_shown_the_nodules(tmp_path, chest, reads):
    network = BackProjection(reads)
    record = evaluate(tmp_path, chest, network, count=1)
    value = {row["measure"]: row["value"] for row in record["values"]}
    assert network.calls == 3  # the case, the case as it is rendered here, and with nodules
    assert record["measures"]["nodule_16mm_kept"]["protocol"] == "nodules"
    if reads:
        assert 0.01 < value["nodule_24mm_kept"] < 0.9  # smeared over the depth of the chest
    else:
        assert [value[name] for name in KEPT] == [0] * len(KEPT)


def test_without_nodules_nothing_is_done(tmp_path, chest):
    network = BackProjection()
    record = evaluate(tmp_path, chest, network, count=0)
    assert network.calls == 1
    assert not any(name.startswith("nodule") for name in record["measures"])


def test_where_there_is_no_room_nothing_is_measured(chest):
    handler = PlantedNodules(ACQUISITION, prediction_transforms(), count=1)
    figures = handler.figures(torch.full_like(chest, 40.0), lambda volume: volume)
    assert all(math.isnan(value) for value in figures.values())


def test_what_cannot_be_planted_is_refused():
    with pytest.raises(InputError, match="give --nodules a number from 0"):
        PlantedNodules(ACQUISITION, prediction_transforms(), -1)
    flat = Acquisition(grid=VolumeGrid((64, 64, 64), (5.0, 5.0, 4.0)))
    with pytest.raises(InputError, match="voxels that are cubes"):
        PlantedNodules(flat, prediction_transforms(), 1)
