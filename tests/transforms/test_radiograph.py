import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from conventions import InputError
from drr import VolumeGrid
from transforms import ReadRadiograph, ReadRadiographd

GRID = VolumeGrid((64, 64, 64), 5.0)
SIZE = 64


@pytest.fixture
def pixels():
    """Two views with a bright mark at the top right of the first and the bottom left of the second."""
    views = np.full((2, SIZE, SIZE), 0.25)
    views[0, :8, -8:] = 1.0
    views[1, -8:, :8] = 0.75
    return views


def save(path, plane, bits=16):
    kind = np.uint16 if bits == 16 else np.uint8
    Image.fromarray(np.rint(plane * (2**bits - 1)).astype(kind)).save(path)
    return path


@pytest.mark.parametrize("bits", [8, 16])
def test_png_pair_reads_rows_and_columns_as_they_stand(tmp_path, pixels, bits):
    paths = [save(tmp_path / f"{i}.png", plane, bits) for i, plane in enumerate(pixels)]
    image = ReadRadiograph(GRID, SIZE)(paths)
    assert image.dtype == torch.float32
    np.testing.assert_allclose(image.numpy(), pixels, atol=0.5 / (2**bits - 1) + 1e-6)
    np.testing.assert_array_equal(image.affine.numpy(), GRID.affine())
    assert tuple(image.meta["spatial_shape"]) == GRID.shape


def test_one_two_plane_nifti_is_the_same(tmp_path, pixels):
    nibabel.save(nibabel.Nifti1Image(np.moveaxis(pixels, 0, -1).astype(np.float32), np.eye(4)), tmp_path / "two.nii.gz")
    image = ReadRadiographd("image", GRID, SIZE)({"image": str(tmp_path / "two.nii.gz"), "model": "x2ct"})["image"]
    np.testing.assert_allclose(image.numpy(), pixels, atol=1e-6)


def test_other_sizes_are_resampled(tmp_path, pixels):
    large = pixels.repeat(3, axis=1).repeat(3, axis=2)
    paths = [save(tmp_path / f"{i}.png", plane) for i, plane in enumerate(large)]
    image = ReadRadiograph(GRID, SIZE)(paths)
    assert image.shape == (2, SIZE, SIZE)
    assert abs(float(image[0, 2, -3]) - 1.0) < 1e-3
    assert abs(float(image[1, -3, 2]) - 0.75) < 1e-3


def case(tmp_path, pixels, kind):
    good = save(tmp_path / "good.png", pixels[0])
    if kind == "missing":
        return [good, tmp_path / "absent.png"]
    if kind == "one view":
        return [good]
    if kind == "colour":
        Image.fromarray(np.zeros((SIZE, SIZE, 3), np.uint8)).save(tmp_path / "bad.png")
    if kind == "oblong":
        save(tmp_path / "bad.png", pixels[0][:32])
    if kind == "garbage":
        (tmp_path / "bad.png").write_bytes(b"no picture")
    if kind == "dicom":
        (tmp_path / "bad.dcm").write_bytes(b"x")
        return [good, tmp_path / "bad.dcm"]
    if kind in ("range", "shape", "one plane"):
        data = np.full((SIZE, SIZE, {"range": 2, "shape": 3, "one plane": 1}[kind]), 7.0, np.float32)
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "bad.nii.gz")
        return [tmp_path / "bad.nii.gz"]
    return [good, tmp_path / "bad.png"]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "there is no such file"),
        ("one view", r"1 radiograph\(s\), this model needs 2 \(pa, lateral\)"),
        ("colour", "RGB image"),
        ("oblong", "32 x 64 pixels are not square"),
        ("garbage", "cannot be read as PNG"),
        ("dicom", "not a PNG or NIfTI"),
        ("range", r"lie in \[0, 1\]"),
        ("shape", r"shape \(64, 64, 3\) is not"),
        ("one plane", "give PNG files"),
    ],
)
def test_what_is_no_radiograph_is_refused(tmp_path, pixels, kind, words):
    with pytest.raises(InputError, match=words) as caught:
        ReadRadiograph(GRID, SIZE)(case(tmp_path, pixels, kind))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
