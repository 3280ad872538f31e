"""The phantom has the anatomy of a patient who lies the right way round."""

from __future__ import annotations

import numpy as np
import pytest

from cohort.phantoms.anatomy import HU_GAS, HU_LIVER
from cohort.phantoms.phantom import ThoraxPhantom, thorax_phantom
from conventions import InputError

COARSE = {"shape": (64, 64, 64), "spacing": 5.0}
SEEDS = range(10)


@pytest.fixture(scope="module")
def phantoms() -> list[ThoraxPhantom]:
    return [thorax_phantom(seed, **COARSE) for seed in SEEDS]


def voxel_of(point_mm, shape, spacing):
    """Index (D, H, W) of the voxel at (x, y, z), independently of the package."""
    x, y, z = point_mm
    return tuple(round(v / spacing + (n - 1) / 2) for v, n in zip((-z, y, x), shape, strict=True))


def lung_voxels(volume_hu):
    return (volume_hu > -950) & (volume_hu < -650)


# --- the whole phantom ---


def test_same_seed_gives_same_volume_to_the_bit():
    first, second = thorax_phantom(7, **COARSE), thorax_phantom(7, **COARSE)
    assert first.volume_hu.shape == (64, 64, 64)
    assert first.volume_hu.dtype == np.float32
    np.testing.assert_array_equal(first.volume_hu, second.volume_hu)
    assert first.ellipsoids == second.ellipsoids


def test_anatomy_does_not_depend_on_the_grid():
    fine, coarse, other = thorax_phantom(3), thorax_phantom(3, **COARSE), thorax_phantom(4, **COARSE)
    assert fine.ellipsoids == coarse.ellipsoids
    averaged = fine.volume_hu.reshape(64, 2, 64, 2, 64, 2).mean(axis=(1, 3, 5))
    # Independent noise of 12 HU alone gives a mean absolute difference of 10 HU, lung texture and soft edges the rest;
    # a shift of the anatomy by half a coarse voxel already gives 31 to 43 HU (measured), along each axis.
    assert np.abs(averaged - coarse.volume_hu).mean() < 22
    assert np.abs(other.volume_hu - coarse.volume_hu).mean() > 60


def test_cases_differ_as_much_as_patients_do(phantoms):
    volumes = np.stack([phantom.volume_hu for phantom in phantoms]).clip(-1024, 1476)
    mean_square = ((volumes - volumes.mean(axis=0)) ** 2).mean(axis=(1, 2, 3))
    psnr = (10 * np.log10(2500**2 / mean_square)).mean()
    # Ten public chest CTs on the same cube, not all of which fill it: 17.1 dB against their mean.
    assert 16.0 < psnr < 20.8


def test_any_grid_works():
    phantom = thorax_phantom(1, shape=(20, 33, 26), spacing=9.5)
    assert phantom.volume_hu.shape == (20, 33, 26)
    assert np.isfinite(phantom.volume_hu).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param({"shape": (64, 64)}, "shape", id="two axes"),
        pytest.param({"shape": (64, 0, 64)}, "shape", id="empty axis"),
        pytest.param({"shape": (64, 64.5, 64)}, "shape", id="half a voxel"),
        pytest.param({"spacing": 0.0}, "spacing", id="no spacing"),
        pytest.param({"spacing": float("nan")}, "spacing", id="NaN spacing"),
        pytest.param({"seed": -1}, "seed", id="negative seed"),
    ],
)
def test_bad_arguments_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        thorax_phantom(**({"seed": 0} | arguments))


# --- tissues ---


def test_tissues_have_the_amounts_of_a_patient(phantoms):
    for phantom in phantoms:
        hu, litres = phantom.volume_hu, (phantom.spacing / 100) ** 3
        assert -1100 < hu.min() < -1000
        assert 300 < hu.max() < 1500
        assert abs(np.median(hu[:, 0]) + 1000) < 5  # air in front of the patient
        # Lungs on chest CT hold about 2 to 8 litres.
        assert 1.5 < lung_voxels(hu).sum() * litres < 8
        # The ten public CTs: 0.5 to 2.3 litres above 200 HU, 3.5 to 7.3 of soft tissue, 1.9 to 7.7 of fat.
        assert 0.4 < (hu > 200).sum() * litres < 2.4
        assert 3.5 < ((hu > 0) & (hu < 100)).sum() * litres < 10
        assert 0.5 < ((hu > -150) & (hu < -50)).sum() * litres < 12


def test_tissues_vary_between_cases(phantoms):
    lungs = [np.median(phantom.volume_hu[lung_voxels(phantom.volume_hu)]) for phantom in phantoms]
    assert np.std(lungs) > 10
    assert all(-900 < hu < -700 for hu in lungs)


# --- orientation: D to the feet, H to the back, W to the left ---


def test_heart_takes_room_from_the_left_lung(phantoms):
    right = sum(lung_voxels(p.volume_hu[24:44, :32, :32]).sum() for p in phantoms)
    left = sum(lung_voxels(p.volume_hu[24:44, :32, 32:]).sum() for p in phantoms)
    assert left < 0.9 * right


def test_spine_stands_at_the_back(phantoms):
    bone = [phantom.volume_hu[:, :, 26:38] > 200 for phantom in phantoms]
    # The median: where the heart is full of contrast medium, it counts as bone here.
    assert np.median([b[:, 32:].sum() / b[:, :32].sum() for b in bone]) > 4


def test_apices_are_up_and_narrow(phantoms):
    mean = np.mean([lung_voxels(phantom.volume_hu) for phantom in phantoms], axis=0)
    area = mean.sum(axis=(1, 2))
    assert area[12:20].sum() < 0.8 * area[28:36].sum()
    assert area[:4].sum() + area[60:].sum() < 0.04 * area.sum()


def hu_at(phantom, ellipsoid):
    """Median HU of the 27 voxels around an ellipsoid's centre."""
    index = voxel_of(ellipsoid.centre, phantom.volume_hu.shape, phantom.spacing)
    return np.median(phantom.volume_hu[tuple(slice(i - 1, i + 2) for i in index)])


def test_liver_lies_right_and_low(phantoms):
    for phantom in phantoms:
        largest = max((e for e in phantom.ellipsoids if abs(e.value - HU_LIVER) < 40), key=lambda e: e.semi_axes[2])
        index = voxel_of(largest.centre, phantom.volume_hu.shape, phantom.spacing)
        assert index[0] > 36
        assert index[2] < 28
        assert hu_at(phantom, largest) == pytest.approx(HU_LIVER, abs=40)


def test_stomach_bubble_lies_left_and_low(phantoms):
    bubbles = [(p, next(e for e in p.ellipsoids if e.value == HU_GAS)) for p in phantoms]
    indices = [voxel_of(bubble.centre, p.volume_hu.shape, p.spacing) for p, bubble in bubbles]
    assert all(d > 34 and w > 36 for d, _, w in indices)
    thick = [(p, bubble) for p, bubble in bubbles if bubble.semi_axes[2] > 8]
    assert len(thick) >= 3
    assert all(hu_at(p, bubble) < -900 for p, bubble in thick)


def test_right_dome_is_mostly_higher(phantoms):
    right = np.mean([lung_voxels(p.volume_hu[32:60, 36:42, 14:22]).sum() for p in phantoms])
    left = np.mean([lung_voxels(p.volume_hu[32:60, 36:42, 42:50]).sum() for p in phantoms])
    assert right < left
