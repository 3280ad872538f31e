"""What a server is given with a predicted volume."""

import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from conventions import View
from readers import DecisionRecord, PlacedFilm, pack_films
from transforms import DescribeResultd, prediction_transforms


def films():
    records = {view: DecisionRecord(view) for view in View}
    records[View.PA].found("lungs", "seen in the image", 0.9)
    records[View.LATERAL].doubt("orientation", "seems to be mirrored", 0.8)
    return [
        PlacedFilm(view, np.zeros((8, 8), np.float32), None, (0, 8, 0, 8), record, False)
        for view, record in records.items()
    ]


def test_whole_hu_and_plain_data_on_the_films():
    volume = MetaTensor(torch.tensor([-1000.5, -0.4, 0.6, 99.9]).reshape(1, 1, 2, 2), affine=np.diag([2.0, 2, 2, 1]))
    item = {"pred": volume, "consistency": json.dumps({"tone": "given"}), **pack_films(films())}
    served = DescribeResultd("pred", {"network": {"name": "raylift"}, "sha256": "ab"})(item)
    assert served["pred"].flatten().tolist() == [-1000, 0, 1, 100]
    assert torch.equal(served["pred"].affine, volume.affine)
    said = json.loads(json.dumps(served["result"]))
    assert said["synthetic"] is True
    assert said["statement"].startswith("Synthetic CT predicted from radiographs")
    assert said["model"] == {"network": {"name": "raylift"}, "sha256": "ab"}
    assert said["doubts"] == ["lateral: orientation: seems to be mirrored"]
    assert [film["view"] for film in said["radiographs"]] == ["pa", "lateral"]
    assert said["radiographs"][0]["decisions"][0]["subject"] == "lungs"
    assert said["consistency"] == {"tone": "given"}


def test_volumes_that_are_measured_are_not_rounded():
    item = {"pred": MetaTensor(torch.full((1, 2, 2, 2), 0.4001))}
    measured = prediction_transforms()(dict(item))
    assert "result" not in measured
    assert float(measured["pred"].max()) == pytest.approx(0.4001 * 2500 - 1024, abs=1e-3)
    served = prediction_transforms(record={})(dict(item))
    assert float(served["pred"].max()) == round(0.4001 * 2500 - 1024)
    assert served["result"]["radiographs"] == []
