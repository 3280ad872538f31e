"""Masks of any affine are read where the voxels of a grid lie."""

import json

import nibabel
import numpy as np
import pytest

from conventions import InputError
from drr import VolumeGrid
from readers import GivenMasks

GRID = VolumeGrid(32, 5.0)


def ball(points, centre=(20.0, -10.0, 15.0), radius=30.0):
    """Whether positions (..., 3) in RAS mm lie in a ball away from the middle."""
    return np.linalg.norm(points - np.array(centre), axis=-1) < radius


def positions(affine, shape):
    index = np.stack(np.indices(shape), -1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def save(path, values, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.astype(np.uint8), affine), path)


def oblique():
    """The affine of a mask of 2 mm whose axes run to the left, to the feet and to the back."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[-1, 0, 0], [0, 0, -1], [0, -1, 0]]) * 2.0
    affine[:3, 3] = (79, 79, 79)
    return affine


def test_a_mask_lies_where_its_affine_says(tmp_path):
    shape = (80, 80, 80)
    save(tmp_path / "a" / "heart.nii.gz", ball(positions(oblique(), shape)), oblique())
    masks = GivenMasks(tmp_path)
    assert masks.names("a") == ["heart"]
    found = masks.read("a", ["heart"], GRID.affine(), GRID.shape)
    expected = ball(positions(GRID.affine(), GRID.shape))
    assert (found ^ expected).sum() < 0.05 * expected.sum()  # half a voxel of the mask at its surface
    assert abs(found.sum() - expected.sum()) < 0.01 * expected.sum()


def test_structures_are_joined_and_labels_are_named(tmp_path):
    shape, affine = (80, 80, 80), oblique()
    points = positions(affine, shape)
    parts = [ball(points, (x, 0, 0), 20) for x in (-40.0, 40.0)]
    for name, part in zip(("one", "two"), parts, strict=True):
        save(tmp_path / "files" / "a" / f"{name}.nii", part, affine)
    save(tmp_path / "labels" / "a.nii.gz", 3 * parts[0] + 7 * parts[1], affine)
    with pytest.raises(InputError, match=r"its labels have no names; write labels\.json"):
        GivenMasks(tmp_path / "labels").names("a")
    (tmp_path / "labels" / "labels.json").write_text(json.dumps({"background": 0, "one": 3, "two": 7}))
    read = [GivenMasks(tmp_path / kind) for kind in ("files", "labels")]
    for names in (["one"], ["one", "two"]):
        first, second = (masks.read("a", names, GRID.affine(), GRID.shape) for masks in read)
        np.testing.assert_array_equal(first, second)
    assert [masks.names("a") for masks in read] == [["one", "two"]] * 2
    assert read[0].names("b") == []


def test_what_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such folder of masks"):
        GivenMasks(tmp_path / "absent")
    far = np.eye(4)
    far[:3, 3] = 5000
    save(tmp_path / "a" / "heart.nii.gz", np.ones((4, 4, 4)), far)
    (tmp_path / "a" / "lung.nii.gz").write_bytes(b"no mask")
    save(tmp_path / "a" / "body.nii.gz", np.ones((4, 4, 4, 2)), np.eye(4))
    for name, words in (
        ("heart", "lies elsewhere than its CT"),
        ("lung", "cannot be read as a mask"),
        ("body", "is no volume"),
        ("bone", "holds no mask bone"),
    ):
        with pytest.raises(InputError, match=words):
            GivenMasks(tmp_path).read("a", [name], GRID.affine(), GRID.shape)
    (tmp_path / "labels.json").write_text("[1]")
    with pytest.raises(InputError, match=r"labels\.json: is no list of labels"):
        GivenMasks(tmp_path)
