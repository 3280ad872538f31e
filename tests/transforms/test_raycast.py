import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from conventions import InputError
from drr import VolumeGrid, hu_to_mu, preset, project
from transforms import RayCastDRR, RayCastDRRd, ReadVolume, ResampleToGrid

GRID = VolumeGrid((32, 32, 32), 10.0)


@pytest.fixture
def volume():
    hu = torch.full((1, 32, 32, 32), -1000.0)
    hu[:, 6:26, 8:24, 4:28] = 20
    hu[:, 8:20, 10:20, 6:14] = -850
    return MetaTensor(hu, affine=GRID.affine((10, 20, 30)))


def test_it_is_curve_projector_and_film_in_a_row(volume):
    image = RayCastDRR(GRID, "chest", "water", "linear", (24, 24))(volume)
    mu = 0.0194 * (1 + volume.as_tensor() / 1000).clamp(min=0)
    expected = project(mu[None], GRID, preset("chest", (24, 24)))[0] / 8
    torch.testing.assert_close(image.as_tensor(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(hu_to_mu(volume.as_tensor(), "water"), mu)


def test_the_meta_is_the_volumes(volume):
    image = RayCastDRR(GRID, detector_shape=(16, 16))(volume)
    assert image.shape == (2, 16, 16)
    assert image.dtype == torch.float32
    np.testing.assert_array_equal(image.affine.numpy(), volume.affine.numpy())
    assert tuple(image.meta["spatial_shape"]) == (32, 32, 32)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_plastimatch_curve_loses_the_lung_and_water_keeps_it(volume):
    lung = {}
    for curve in ("plastimatch", "water"):
        without = volume.clone()
        without[without < -800] = -1000
        change = RayCastDRR(GRID, "chest", curve, "linear")(volume) - RayCastDRR(GRID, "chest", curve, "linear")(
            without
        )
        lung[curve] = float(change.abs().max())
    assert lung["plastimatch"] == 0
    assert lung["water"] > 0.02


def test_dictionary_form_keeps_the_volume(volume):
    item = RayCastDRRd("label", GRID, detector_shape=(16, 16))({"label": volume, "case": "a"})
    assert set(item) == {"label", "image", "case"}
    assert item["label"] is volume


def test_a_volume_in_other_axes_is_refused(volume):
    turned = MetaTensor(volume.as_tensor(), affine=np.diag([10.0, 10, 10, 1]))
    with pytest.raises(InputError, match="ResampleToGrid"):
        RayCastDRR(GRID)(turned)
    slightly = MetaTensor(volume.as_tensor(), affine=GRID.affine())
    angle = np.eye(4)
    angle[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    slightly.affine = torch.tensor(angle @ GRID.affine())
    RayCastDRR(GRID)(slightly)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"geometry": "xray"}, "unknown geometry"),
        ({"curve": "x"}, "unknown attenuation"),
        ({"film": "x"}, "film style"),
    ],
)
def test_unknown_names(options, words):
    with pytest.raises(InputError, match=words):
        RayCastDRR(GRID, **options)


def test_on_the_device_of_the_volume_or_the_one_asked_for(volume, device):
    on_its_own = RayCastDRR(GRID)(volume.to(device))
    assert on_its_own.device.type == device.type
    lent = RayCastDRR(GRID, device=device)(volume)
    assert lent.device.type == "cpu"
    torch.testing.assert_close(lent.as_tensor(), on_its_own.cpu().as_tensor(), rtol=0, atol=1 / 255)


def test_real_radiographs_show_the_heart_at_the_left_and_the_spine_at_the_right_of_the_lateral(real_data):
    grid = VolumeGrid((64, 64, 64), 5.0)
    read = Compose([ReadVolume(), ResampleToGrid(grid), RayCastDRR(grid, "chest", "water", "linear", (64, 64))])
    files = sorted((real_data / "ct").glob("*.nii.gz"))
    pa, lateral = torch.stack([read(file).as_tensor() for file in files]).mean(0)
    assert float(pa[28:36, 34:42].mean()) > 1.05 * float(pa[28:36, 22:30].mean())
    assert float(lateral[20:40, 38:48].mean()) > 1.05 * float(lateral[20:40, 16:26].mean())
