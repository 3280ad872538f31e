import json

import itk
import nibabel
import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from conventions import InputError
from drr import VolumeGrid
from export import SYNTHETIC_STATEMENT, NiftiWriter, write_nifti

GRID = VolumeGrid((6, 8, 10), (2.0, 3.0, 4.0))


def test_an_independent_reader_finds_every_voxel_in_its_place(tmp_path):
    volume = np.random.default_rng(0).uniform(-1024, 1476, GRID.shape)
    path = write_nifti(tmp_path / "ct.nii.gz", volume, GRID.affine((5, 6, 7)))
    image = itk.imread(str(path))
    for index in ((0, 0, 0), (5, 7, 9), (2, 3, 4)):
        d, h, w = index
        lps = [5 + (w - 4.5) * 4, 6 + (h - 3.5) * 3, 7 - (d - 2.5) * 2]
        found = image.TransformPhysicalPointToIndex([float(v) for v in lps])
        assert tuple(found) == index
        assert image.GetPixel(found) == round(volume[index])


def test_it_says_that_it_is_synthetic(tmp_path):
    path = write_nifti(tmp_path / "ct.nii.gz", np.zeros((3, 3, 3)), np.eye(4), {"geometry": "chest"})
    header = nibabel.load(path).header
    assert b"SYNTHETIC" in header["descrip"].item()
    assert header["sform_code"] == header["qform_code"] == 1
    sidecar = json.loads((tmp_path / "ct.json").read_text())
    assert sidecar["synthetic"] is True
    assert sidecar["statement"] == SYNTHETIC_STATEMENT
    assert sidecar["model"] == {"geometry": "chest"}


def test_an_earlier_result_is_kept(tmp_path):
    write_nifti(tmp_path / "ct.nii.gz", np.zeros((3, 3, 3)), np.eye(4))
    write_nifti(tmp_path / "ct.nii.gz", np.ones((3, 3, 3)), np.eye(4))
    assert len(list(tmp_path.glob("ct_*.nii.gz"))) == 1
    assert len(list(tmp_path.glob("ct_*.json"))) == 1
    assert nibabel.load(tmp_path / "ct.nii.gz").get_fdata().max() == 1


def test_handler_names_the_file_after_the_case(tmp_path):
    volume = MetaTensor(torch.full((1, *GRID.shape), 7.4), affine=GRID.affine())

    def update(engine, _batch):
        engine.state.batch = [{"case": "a.b"}]
        return [{"pred": volume}]

    engine = Engine(update)
    NiftiWriter(tmp_path, record={"checkpoint": "model.pt"}).attach(engine)
    engine.run([0])
    image = nibabel.load(tmp_path / "a.b.nii.gz")
    assert image.get_fdata().max() == 7
    np.testing.assert_allclose(image.affine, GRID.affine())
    assert json.loads((tmp_path / "a.b.json").read_text())["model"] == {"checkpoint": "model.pt"}


def test_what_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(InputError, match="not finite"):
        write_nifti(tmp_path / "ct.nii.gz", np.full((3, 3, 3), np.nan), np.eye(4))
    assert not list(tmp_path.iterdir())
