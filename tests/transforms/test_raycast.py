import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from conventions import InputError
from drr import Acquisition, VolumeGrid, geometry_tensor, hu_to_mu, preset, project, to_film
from transforms import RandRayCastDRR, RandRayCastDRRd, RayCastDRR, RayCastDRRd, ReadVolume, ResampleToGrid

GRID = VolumeGrid((32, 32, 32), 10.0)
PAPER = Acquisition(grid=GRID, detector_shape=(32, 32))
CHEST = Acquisition(grid=GRID, geometry="chest", curve="water", film_style="linear", detector_shape=(24, 24))


@pytest.fixture
def volume():
    hu = torch.full((1, 32, 32, 32), -1000.0)
    hu[:, 6:26, 8:24, 4:28] = 20
    hu[:, 8:20, 10:20, 6:14] = -850
    return MetaTensor(hu, affine=GRID.affine((10, 20, 30)))


def test_it_is_curve_projector_and_film_in_a_row(volume):
    image = RayCastDRR(CHEST)(volume)
    mu = 0.0194 * (1 + volume.as_tensor() / 1000).clamp(min=0)
    expected = project(mu[None], GRID, preset("chest", (24, 24)))[0] / 8
    torch.testing.assert_close(image.as_tensor(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(hu_to_mu(volume.as_tensor(), "water"), mu)


def test_the_meta_is_the_volumes(volume):
    image = RayCastDRR(PAPER.replace(detector_shape=(16, 16)))(volume)
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
        render = RayCastDRR(CHEST.replace(curve=curve))
        change = render(volume) - render(without)
        lung[curve] = float(change.abs().max())
    assert lung["plastimatch"] == 0
    assert lung["water"] > 0.02


def test_dictionary_form_keeps_the_volume(volume):
    item = RayCastDRRd("label", PAPER.replace(detector_shape=(16, 16)))({"label": volume, "case": "a"})
    assert set(item) == {"label", "image", "case", "geometry"}
    assert item["label"] is volume


def test_a_volume_in_other_axes_is_refused(volume):
    turned = MetaTensor(volume.as_tensor(), affine=np.diag([10.0, 10, 10, 1]))
    with pytest.raises(InputError, match="ResampleToGrid"):
        RayCastDRR(PAPER)(turned)
    slightly = MetaTensor(volume.as_tensor(), affine=GRID.affine())
    angle = np.eye(4)
    angle[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    slightly.affine = torch.tensor(angle @ GRID.affine())
    RayCastDRR(PAPER)(slightly)


def test_on_the_device_of_the_volume_or_the_one_asked_for(volume, device):
    on_its_own = RayCastDRR(PAPER)(volume.to(device))
    assert on_its_own.device.type == device.type
    lent = RayCastDRR(PAPER, device)(volume)
    assert lent.device.type == "cpu"
    torch.testing.assert_close(lent.as_tensor(), on_its_own.cpu().as_tensor(), rtol=0, atol=1 / 255)


def test_real_radiographs_show_the_heart_at_the_left_and_the_spine_at_the_right_of_the_lateral(real_data):
    grid = VolumeGrid((64, 64, 64), 5.0)
    acquisition = CHEST.replace(grid=grid, detector_shape=(64, 64), anchor="centre")
    read = Compose([ReadVolume(), ResampleToGrid(acquisition), RayCastDRR(acquisition)])
    files = sorted((real_data / "ct").glob("*.nii.gz"))
    pa, lateral = torch.stack([read(file).as_tensor() for file in files]).mean(0)
    assert float(pa[28:36, 34:42].mean()) > 1.05 * float(pa[28:36, 22:30].mean())
    assert float(lateral[20:40, 38:48].mean()) > 1.05 * float(lateral[20:40, 16:26].mean())


def test_a_batch_is_its_cases(volume):
    render = RayCastDRR(CHEST)
    other = volume * 0.5
    batch = render(torch.stack([volume.as_tensor(), other.as_tensor()]))
    assert batch.shape == (2, 2, 24, 24)
    torch.testing.assert_close(batch[0].as_tensor(), render(volume).as_tensor())
    torch.testing.assert_close(batch[1].as_tensor(), render(other).as_tensor())
    assert batch.meta["geometry"].shape == (2, 2, 4, 3)


def test_the_geometry_of_a_preset_is_told(volume):
    image = RayCastDRR(CHEST)(volume)
    torch.testing.assert_close(image.meta["geometry"], geometry_tensor(preset("chest", (24, 24)))[0])


JITTER = {"sdd": 20.0, "sod": 15.0, "angle": 4.0, "tilt": 3.0, "shift": 12.0, "tone": 0.2}


def test_jitter_tells_the_views_it_used(volume):
    render = RandRayCastDRRd("label", CHEST, **{**JITTER, "tone": 0.0})
    render.set_random_state(3)
    first, second = render({"label": volume}), render({"label": volume})
    assert not torch.equal(first["geometry"], second["geometry"])
    assert first["geometry"].shape == (2, 4, 3)
    for item in (first, second):
        mu = hu_to_mu(volume.as_tensor(), "water")[None]
        expected = to_film(project(mu, GRID, item["geometry"][None], detector_shape=(24, 24)))[0]
        torch.testing.assert_close(item["image"].as_tensor(), expected, rtol=1e-4, atol=1e-5)
    again = RandRayCastDRRd("label", CHEST, **{**JITTER, "tone": 0.0})
    again.set_random_state(3)
    assert torch.equal(again({"label": volume})["image"], first["image"])


def test_jitter_stays_within_its_amounts(volume):
    render = RandRayCastDRR(CHEST.replace(detector_shape=(4, 4)), **JITTER).set_random_state(0)
    exact = geometry_tensor(preset("chest", (4, 4)))[0]
    distances, angles = [], []
    for _ in range(40):
        used = render(volume).meta["geometry"]
        beam, straight = used[:, 1] - used[:, 0], exact[:, 1] - exact[:, 0]
        distances.append(beam.norm(dim=-1) - straight.norm(dim=-1))
        cosine = (beam * straight).sum(-1) / beam.norm(dim=-1) / straight.norm(dim=-1)
        angles.append(torch.rad2deg(torch.arccos(cosine.clamp(max=1))))
        assert bool((used[:, 2, 0] + used[:, 2, 1] > 0).all())  # never mirrored
    distances, angles = torch.stack(distances), torch.stack(angles)
    assert 15 < float(distances.abs().max()) <= 20.01
    assert 3 < float(angles.max()) <= 5.01  # 4 and 3 degrees at a right angle


def test_a_part_of_the_jitter_stays_unstated(volume):
    small = CHEST.replace(detector_shape=(4, 4))
    exact = geometry_tensor(small.views)[0]

    def distances(geometry):
        return (geometry[:, 1] - geometry[:, 0]).norm(dim=-1) - (exact[:, 1] - exact[:, 0]).norm(dim=-1)

    shares = []
    for seed in range(40):
        stated, told = (
            RandRayCastDRR(small, **JITTER, unstated=unstated).set_random_state(seed)(volume) for unstated in (0.0, 0.8)
        )
        assert torch.equal(stated.as_tensor(), told.as_tensor())  # the same films
        share = distances(told.meta["geometry"]) / distances(stated.meta["geometry"])
        torch.testing.assert_close(share[0], share[1], atol=2e-3, rtol=0)
        shares.append(float(share.mean()))
    assert 12 < sum(share > 0.999 for share in shares) < 28
    assert 0.199 < min(shares) < 0.4


def test_tone_is_a_gamma(volume):
    render = RandRayCastDRR(CHEST, tone=0.3).set_random_state(0)
    plain = RayCastDRR(CHEST)(volume).as_tensor()
    toned = render(volume).as_tensor()
    inner = plain > 0.05
    gamma = torch.log(toned[0][inner[0]]) / torch.log(plain[0][inner[0]])
    assert float(gamma.std()) < 1e-4
    assert float(gamma.mean()) != 1
    assert abs(float(gamma.mean().log())) <= 0.3


def test_a_volume_of_another_spacing_is_refused(volume):
    with pytest.raises(InputError, match=r"\[10.0, 10.0, 10.0\] mm apart, those of the grid \[5.0, 5.0, 5.0\]"):
        RayCastDRR(PAPER.replace(grid=VolumeGrid((32, 32, 32), 5.0)))(volume)


def test_bad_jitter_and_device():
    with pytest.raises(InputError, match="tilt must not be negative"):
        RandRayCastDRR(PAPER, tilt=-1.0)
    with pytest.raises(InputError, match="unstated is a share between 0 and 1, got 2"):
        RandRayCastDRR(PAPER, unstated=2)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="'cuda' is not available on this machine"):
            RayCastDRR(PAPER, "cuda")
    with pytest.raises(InputError, match=r"\(B, 1, D, H, W\)"):
        RayCastDRR(PAPER)(torch.zeros(32, 32, 32))
