import os

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import RandScaleIntensityd

from cohort import cached_dataset
from cohort.phantoms import write_phantoms
from conventions import InputError
from drr import Acquisition, VolumeGrid
from transforms import case_transforms

ACQUISITION = Acquisition(
    grid=VolumeGrid(32, 10.0), geometry="chest", curve="water", detector_shape=16, anchor="centre"
)


@pytest.fixture
def data(tmp_path):
    files = write_phantoms(tmp_path / "cts", cases=2, size=32)
    return [{"label": str(file), "case": file.name} for file in files]


def volumes(data, folder, acquisition=ACQUISITION):
    random = RandScaleIntensityd("label", factors=0.0, prob=1.0)
    transform = case_transforms(acquisition, (-1024, 3071), augmentation=[random])
    return [item["label"] for item in cached_dataset(data, transform, cache_dir=folder, progress=False)]


def in_hu(unit):
    return unit.as_tensor().double().numpy() * 4095 - 1024


def test_arrays_hold_the_ct_on_the_grid_in_whole_hu(data, tmp_path):
    kept, direct = volumes(data, tmp_path / "cache"), volumes(data, None)
    for one, other in zip(kept, direct, strict=True):
        assert isinstance(one, MetaTensor)
        assert torch.equal(one.affine, other.affine)
        hu = in_hu(one)
        np.testing.assert_allclose(hu, np.rint(hu), atol=2e-3)
        np.testing.assert_allclose(hu, in_hu(other), atol=0.51)
    arrays = [np.load(file, mmap_mode="r") for file in (tmp_path / "cache").glob("*.npy")]
    assert [(array.shape, array.dtype) for array in arrays] == [((1, 32, 32, 32), np.dtype(np.int16))] * 2


def test_the_next_run_reads_no_ct(data, tmp_path):
    first = volumes(data, tmp_path / "cache")
    for item in data:
        stated = os.stat(item["label"])
        with open(item["label"], "r+b") as file:
            file.write(bytes(1000))  # unreadable from here on, and otherwise the same
        os.utime(item["label"], ns=(stated.st_atime_ns, stated.st_mtime_ns))
    for one, other in zip(first, volumes(data, tmp_path / "cache"), strict=True):
        assert torch.equal(one.as_tensor(), other.as_tensor())
        assert torch.equal(one.affine, other.affine)
    with pytest.raises((InputError, RuntimeError), match=r"cannot be read|applying transform"):
        volumes(data, tmp_path / "other")


def test_another_ct_and_another_grid_are_made_again(data, tmp_path):
    first = volumes(data, tmp_path / "cache")
    changed = write_phantoms(tmp_path / "others", cases=3, size=32)[2]
    os.replace(changed, data[0]["label"])
    second = volumes(data, tmp_path / "cache")
    assert (first[0].as_tensor() - second[0].as_tensor()).abs().max() > 0.05
    assert torch.equal(first[1].as_tensor(), second[1].as_tensor())
    coarse = volumes(data, tmp_path / "cache", ACQUISITION.replace(grid=VolumeGrid(16, 20.0)))
    assert coarse[0].shape == (1, 16, 16, 16)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 5


def test_a_damaged_array_is_made_again(data, tmp_path):
    first = volumes(data, tmp_path / "cache")
    for file in (tmp_path / "cache").glob("*.npy"):
        file.write_bytes(file.read_bytes()[:1000])
    for one, other in zip(first, volumes(data, tmp_path / "cache"), strict=True):
        assert torch.equal(one.as_tensor(), other.as_tensor())
