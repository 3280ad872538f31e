import json

import numpy as np
import pytest

from cohort.film_reference import lung_mask, make_reference, mask_box
from cohort.phantoms import write_phantoms
from conventions import InputError
from drr import CURVES, FILM_STYLES, PRESETS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cts")
    write_phantoms(folder, cases=2, size=64)
    return json.loads(make_reference(folder, folder / "reference.json").read_text())


def test_every_acquisition_has_its_numbers(made):
    assert set(made["lungs"]) == {f"{geometry} {anchor}" for geometry in PRESETS for anchor in ("head", "centre")}
    assert len(made["tones"]) == len(PRESETS) * len(CURVES) * len(FILM_STYLES)
    assert np.shape(made["thorax"]["pa"]) == (40, 40)
    for views in made["tones"].values():
        for quantiles in views.values():
            assert len(quantiles) == 101
            assert (np.diff(quantiles) >= 0).all()


def test_lungs_are_the_air_inside():
    volume = np.full((20, 40, 40), -1000.0)
    volume[:, 5:35, 5:35] = 40
    volume[5:15, 10:30, 8:18] = -800
    volume[5:15, 10:30, 22:32] = -800
    volume[10, 20, 20] = -900  # a speck
    mask = lung_mask(volume)
    assert mask.sum() == pytest.approx(2 * 10 * 20 * 10, rel=0.1)
    assert not mask[10, 20, 20]
    assert mask_box(mask.any(1)) == (5, 15, 8, 32)


def test_a_folder_without_chests_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no CT of a whole chest"):
        make_reference(tmp_path, tmp_path / "reference.json")
