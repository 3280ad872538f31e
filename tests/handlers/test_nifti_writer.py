import json

import nibabel
import numpy as np
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from drr import VolumeGrid
from handlers import NiftiWriter
from readers import DecisionRecord, PlacedFilm, pack_films

GRID = VolumeGrid((6, 8, 10), (2.0, 3.0, 4.0))


def write(folder, item, **output):
    volume = MetaTensor(torch.full((1, *GRID.shape), 7.4), affine=GRID.affine())

    def update(engine, _batch):
        engine.state.batch = [item]
        return [{"pred": volume, **output}]

    engine = Engine(update)
    NiftiWriter(folder, record={"checkpoint": "model.pt"}).attach(engine)
    engine.run([0])


def test_the_file_is_named_after_the_case(tmp_path):
    write(tmp_path, {"case": "a.b"})
    image = nibabel.load(tmp_path / "a.b.nii.gz")
    assert image.get_fdata().max() == 7
    np.testing.assert_allclose(image.affine, GRID.affine())
    assert json.loads((tmp_path / "a.b.json").read_text())["model"] == {"checkpoint": "model.pt"}


def test_the_sidecar_says_how_the_films_were_read(tmp_path):
    record = DecisionRecord()
    record.assumed("spacing", "0.14 mm a pixel")
    film = PlacedFilm("pa", np.zeros((8, 8), np.float32), None, (0, 8, 0, 8), record)
    write(tmp_path, pack_films([film]))
    [read] = json.loads((tmp_path / "synthetic_ct.json").read_text())["radiographs"]
    assert read["view"] == "pa"
    assert read["decisions"] == record.to_list()


def test_expected_errors_are_a_second_file(tmp_path):
    write(tmp_path, {"case": "a"}, expected_error=torch.full((1, *GRID.shape), 41.6))
    image = nibabel.load(tmp_path / "a_expected_error.nii.gz")
    assert image.get_fdata().mean() == 42
    np.testing.assert_allclose(image.affine, GRID.affine())
    sidecar = json.loads((tmp_path / "a_expected_error.json").read_text())
    assert sidecar["unit"].startswith("expected absolute error")
    assert json.loads((tmp_path / "a.json").read_text())["unit"] == "HU"
