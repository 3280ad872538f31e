import json

import itk
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from scipy.spatial.transform import Rotation
from skimage.measure import block_reduce

from conventions import HU_AIR, LPS_TO_RAS, InputError
from drr import Acquisition, VolumeGrid
from tests import chest_model
from transforms import DECISIONS, ReadVolume, ResampleToGrid, ResampleToGridd, block_means, shrink

GRID = VolumeGrid((64, 64, 64), 2.5)
OBLIQUE_RMSE_HU = 20.0


def to_grid(grid=GRID, anchor="centre"):
    return ResampleToGrid(Acquisition(grid=grid, anchor=anchor))


def read(path, grid=GRID, anchor="centre"):
    return to_grid(grid, anchor)(ReadVolume()(path))


def test_the_decisions_of_the_reading_travel_as_text(write_ct, asymmetric_thorax):
    scan = ReadVolume()(write_ct(asymmetric_thorax + 1024))
    made = [(decision["kind"], decision["subject"]) for decision in json.loads(scan.meta[DECISIONS])]
    assert made == [("assumed", "unit"), ("doubt", "HU")]
    np.testing.assert_array_equal(scan[0].numpy(), asymmetric_thorax)
    batch = list_data_collate([{"label": scan}, {"label": ReadVolume()(write_ct(asymmetric_thorax))}])
    assert [len(json.loads(text)) for text in batch["label"].meta[DECISIONS]] == [2, 1]


def test_means_of_blocks_are_those_of_skimage():
    volume = np.random.default_rng(0).integers(-1024, 3071, (13, 12, 7), np.int16)
    expected = block_reduce(volume[:12, :, :6], (4, 3, 2), np.mean)
    np.testing.assert_allclose(block_means(volume, (4, 3, 2)), expected, rtol=1e-6)


def test_a_shrunk_scan_keeps_the_places_of_a_linear_function():
    """Its mean over a block is its value in the middle of the block."""
    affine = np.array([[0, -1.1, 0.2, 5], [0.9, 0, 0, -7], [0, 0, 3.0, 11], [0, 0, 0, 1]])
    index = np.stack(np.meshgrid(*map(np.arange, (13, 12, 7)), indexing="ij"), -1)
    slope = np.array([3.0, -5.0, 2.0])
    values = ((index @ affine[:3, :3].T + affine[:3, 3]) @ slope).astype(np.float32)
    small = shrink(MetaTensor(torch.from_numpy(values)[None], affine=affine), 4.0)
    assert small.shape == (1, 3, 4, 7)
    there = np.stack(np.meshgrid(*map(np.arange, small.shape[1:]), indexing="ij"), -1)
    place = small.affine.numpy()
    expected = (there @ place[:3, :3].T + place[:3, 3]) @ slope
    np.testing.assert_allclose(small.numpy()[0], expected, atol=1e-4)


def centred(spacing_and_axes, shape):
    """Affine whose volume is centred on the origin."""
    affine = np.eye(4)
    affine[:3, :3] = spacing_and_axes
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def test_the_mark_lies_where_the_affine_says(write_ct, asymmetric_thorax):
    for x_step, mark_is_left in ((2.5, True), (-2.5, False)):
        volume = read(write_ct(asymmetric_thorax, centred(np.diag([x_step, 2.5, 2.5]), (60, 60, 60))))
        d, h, w = (volume[0] > 500).nonzero().float().mean(0).tolist()
        assert d < 16  # head
        assert h < 32  # front
        assert (w > 32) is mark_is_left


def test_ras_and_lps_files_give_the_same_tensor(write_ct, asymmetric_thorax):
    ras = centred(np.diag([2.5, 2.5, 2.5]), (60, 60, 60))
    lps = centred(np.diag([-2.5, -2.5, 2.5]), (60, 60, 60))
    one = read(write_ct(asymmetric_thorax, ras, "ras.nii.gz"))
    other = read(write_ct(asymmetric_thorax[::-1, ::-1].copy(), lps, "lps.nii.gz"))
    torch.testing.assert_close(one.as_tensor(), other.as_tensor(), rtol=0, atol=1e-2)
    w = (one[0] > 500).nonzero().float().mean(0)[2]
    assert w > 32  # RAS: low x = left, so the mark lies at high W


def test_a_file_written_by_itk_in_lps_reads_the_same(tmp_path, write_ct, asymmetric_thorax):
    ours = read(write_ct(asymmetric_thorax, centred(np.diag([2.5, 2.5, 2.5]), (60, 60, 60))))
    # ITK's arrays are (z, y, x) and its positions LPS: an image with identity direction has x to the left.
    image = itk.image_from_array(np.ascontiguousarray(asymmetric_thorax[::-1, ::-1].transpose(2, 1, 0)))
    image.SetSpacing([2.5] * 3)
    image.SetOrigin([-2.5 * 29.5] * 3)
    itk.imwrite(image, str(tmp_path / "itk.nii.gz"))
    theirs = read(tmp_path / "itk.nii.gz")
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), rtol=0, atol=1e-2)


def test_oblique_axes_give_the_same_within_interpolation(write_ct):
    grid = VolumeGrid((40, 40, 40), 4.0)

    def smooth_thorax(points_ras):
        """An analytic density in HU of RAS positions (..., 3) in mm: smooth, asymmetric."""
        bump = np.exp(-np.sum((points_ras - [-25, 20, 30]) ** 2, axis=-1) / (2 * 15.0**2))
        body = 1 / (1 + np.exp(6 * (np.linalg.norm(points_ras / [80, 60, 100], axis=-1) - 1)))
        return (-1000 + 1000 * body + 600 * bump).astype(np.float32)

    def sample(affine, shape):
        index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
        return smooth_thorax(index @ affine[:3, :3].T + affine[:3, 3])

    turned = Rotation.from_euler("zyx", [20, -15, 10], degrees=True).as_matrix() * [2.0, 2.5, 3.0]
    shape = (140, 120, 100)
    affine = centred(turned, shape)
    oblique = read(write_ct(sample(affine, shape), affine, "oblique.nii.gz"), grid)
    expected = sample(grid.affine(), grid.shape)
    assert float((oblique[0].as_tensor() - torch.from_numpy(expected)).square().mean().sqrt()) < OBLIQUE_RMSE_HU
    np.testing.assert_allclose(oblique.affine.numpy(), grid.affine(), atol=1e-4)  # NIfTI keeps float32


def test_what_was_not_scanned_is_air_and_padding_is_clipped(write_ct):
    shape = (48, 48, 48)
    volume = np.full(shape, 30.0, dtype=np.float32)
    volume[:4] = -3024
    volume[4:8] = -900
    out = read(write_ct(volume, centred(np.diag([2.5] * 3), shape)))
    assert out.shape == (1, 64, 64, 64)
    assert out.dtype == torch.float32
    assert float(out[0, 0, 0, 0]) == HU_AIR
    assert float(out[0, 32, 32, 32]) == pytest.approx(30, abs=1e-3)
    assert float(out.min()) >= HU_AIR


def test_fine_scans_are_low_passed_before_coarse_sampling(write_ct):
    shape = (120, 120, 120)
    stripes = np.where(np.arange(120) % 2, 500.0, -500.0).astype(np.float32)
    volume = MetaTensor(np.broadcast_to(stripes, (1, *shape)).copy(), affine=centred(np.diag([1.0] * 3), shape))
    out = to_grid(VolumeGrid((20, 20, 20), 5.0))(volume)
    assert float(out[0, 4:16, 4:16, 4:16].abs().max()) < 50  # the stripes' mean is 0; aliasing would give up to 500


def test_the_low_pass_adds_no_shell():
    shape = (120, 110, 100)
    air = MetaTensor(torch.full((1, *shape), HU_AIR), affine=centred(np.diag([1.0, 1.0, 1.5]), shape))
    out = to_grid(VolumeGrid((60, 60, 60), 2.5))(air)
    torch.testing.assert_close(out.as_tensor(), torch.full((1, 60, 60, 60), HU_AIR), rtol=0, atol=1e-3)


def test_the_head_anchor_keeps_the_head(write_ct, asymmetric_thorax):
    tall = np.concatenate([np.full((60, 60, 40), -1000.0, np.float32), asymmetric_thorax], axis=2)
    path = write_ct(tall, centred(np.diag([2.5] * 3), tall.shape))
    grid = VolumeGrid((60, 60, 60), 2.5)
    head = read(path, grid, anchor="head")
    expected = read(write_ct(asymmetric_thorax, centred(np.diag([2.5] * 3), (60, 60, 60)), "short.nii.gz"), grid)
    torch.testing.assert_close(head.as_tensor(), expected.as_tensor(), rtol=0, atol=1e-2)
    short = write_ct(asymmetric_thorax, centred(np.diag([2.5] * 3), (60, 60, 60)), "short.nii.gz")
    larger = VolumeGrid((80, 60, 60), 2.5)  # a scan shorter than the grid is padded at both ends, as the authors did
    torch.testing.assert_close(read(short, larger, anchor="head").as_tensor(), read(short, larger).as_tensor())


def chest_file(write_ct, kind, axes, extent=chest_model.EXTENT, name="chest.nii.gz"):
    """Write a chest with its voxels along any axes, so that the file covers `extent`."""
    shape = tuple(np.ceil(np.array(extent) / np.linalg.norm(axes, axis=0)).astype(int))
    affine = centred(axes, shape)
    return write_ct(chest_model.sampled(kind, affine, shape), affine, name)


def middle_of_the_lungs_on(volume):
    """Position of the lungs' true middle relative to the grid's centre, in mm."""
    middle = np.linalg.inv(volume.affine.numpy()) @ [*chest_model.MIDDLE * LPS_TO_RAS, 1]
    return (middle[:3] - (np.array(volume.shape[1:]) - 1) / 2) * np.linalg.norm(volume.affine.numpy()[:3, :3], axis=0)


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param(np.diag([3.0, 3.0, 3.0]), id="RAS"),
        pytest.param(np.diag([-1.5, -1.5, 5.0]), id="LPS with thick slices"),
        pytest.param(Rotation.from_euler("x", 12, degrees=True).as_matrix() * 3.0, id="tilted gantry"),
    ],
)
def test_the_lungs_anchor_centres_the_lungs(write_ct, axes):
    volume = read(chest_file(write_ct, chest_model.with_windpipe, axes), VolumeGrid(64, 5.0), "lungs")
    assert np.abs(middle_of_the_lungs_on(volume)).max() < 2.5
    # Its mass lies there too, right against left and front against back, by the voxels themselves.
    lung = (volume[0] < -700) & (volume[0] > -930)
    assert np.abs(lung.nonzero().float().mean(0).numpy() - 31.5).max() < 1.5


def test_the_lungs_anchor_does_not_depend_on_the_grid(write_ct):
    scan = ReadVolume()(chest_file(write_ct, chest_model.with_bowel_gas, np.diag([3.0, 3.0, 3.0])))
    offsets = [middle_of_the_lungs_on(to_grid(grid, "lungs")(scan)) for grid in (VolumeGrid(32, 10.0), GRID)]
    np.testing.assert_allclose(*offsets, atol=1e-6)


def test_what_lies_beyond_the_patient_does_not_move_the_lungs(write_ct):
    axes = np.diag([3.0, 3.0, 3.0])
    for kind in (chest_model.with_table, chest_model.with_tilted_table, chest_model.with_arms, chest_model.with_stool):
        volume = read(chest_file(write_ct, kind, axes), VolumeGrid(32, 10.0), "lungs")
        assert np.abs(middle_of_the_lungs_on(volume)).max() < 2.5, kind.__name__


def test_a_ct_without_lungs_is_refused_by_its_name(write_ct):
    path = chest_file(write_ct, chest_model.without_lungs, np.diag([4.0] * 3), name="abdomen.nii.gz")
    with pytest.raises(InputError, match=r"abdomen.nii.gz: no lungs can be recognised \(.* choose the anchor 'centre'"):
        read(path, anchor="lungs")
    read(path, anchor="centre")


def test_dictionary_form_walks_keys(write_ct, asymmetric_thorax):
    volume = ReadVolume()(write_ct(asymmetric_thorax))
    item = ResampleToGridd("label", Acquisition(grid=GRID))({"label": volume, "case": "a"})
    expected = ResampleToGrid(Acquisition(grid=GRID))(volume)
    torch.testing.assert_close(item["label"].as_tensor(), expected.as_tensor())
    assert item["case"] == "a"


def test_real_cts_have_the_heart_at_the_left_and_the_liver_at_the_right(real_data):
    grid = VolumeGrid((64, 64, 64), 5.0)
    files = sorted((real_data / "ct").glob("*.nii.gz"))
    mean = torch.stack([read(file, grid)[0].as_tensor().clip(max=400) for file in files]).mean(0)
    frontal = mean.mean(1)  # rows to the feet, columns to the patient's left; the midline lies at 32
    assert frontal[28:36, 34:42].mean() - frontal[28:36, 22:30].mean() > 40  # heart
    assert frontal[44:50, 10:24].mean() - frontal[44:50, 40:54].mean() > 10  # liver
