import json

import itk
import nibabel
import numpy as np
import pytest

from conventions import SYNTHETIC_STATEMENT, InputError, MarkKind, read_mark
from drr import Acquisition, VolumeGrid
from export import write_nifti

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


def test_its_header_says_which_model_made_it(tmp_path):
    record = {
        "network": {"name": "x2ct_biplanar", "arguments": {}},
        "acquisition": Acquisition(geometry="chest", curve="water", film_style="linear").record(),
        "checkpoint": "Quetzal.pt",
        "sha256": "0f" * 32,
    }
    path = write_nifti(tmp_path / "ct.nii.gz", np.zeros((3, 3, 3)), np.eye(4), record)
    (extension,) = nibabel.load(path).header.extensions
    assert extension.get_code() == 6
    mark = read_mark(extension.get_content())
    assert (mark.kind, mark.made_of) == (MarkKind.SYNTHETIC_CT, "radiographs")
    assert (mark.model, mark.sha256) == ("x2ct_biplanar", "0f" * 32)
    assert (mark.geometry, mark.curve, mark.film_style, mark.view) == ("chest", "water", "linear", "pa,lateral")
    assert b"Quetzal" not in extension.get_content()


def test_without_a_record_it_is_marked_all_the_same(tmp_path):
    header = nibabel.load(write_nifti(tmp_path / "ct.nii.gz", np.zeros((3, 3, 3)), np.eye(4))).header
    assert read_mark(header.extensions[0].get_content()).kind is MarkKind.SYNTHETIC_CT


def test_an_earlier_result_is_kept(tmp_path):
    write_nifti(tmp_path / "ct.nii.gz", np.zeros((3, 3, 3)), np.eye(4))
    write_nifti(tmp_path / "ct.nii.gz", np.ones((3, 3, 3)), np.eye(4))
    assert len(list(tmp_path.glob("ct_*.nii.gz"))) == 1
    assert len(list(tmp_path.glob("ct_*.json"))) == 1
    assert nibabel.load(tmp_path / "ct.nii.gz").get_fdata().max() == 1


def test_what_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(InputError, match="not finite"):
        write_nifti(tmp_path / "ct.nii.gz", np.full((3, 3, 3), np.nan), np.eye(4))
    assert not list(tmp_path.iterdir())
