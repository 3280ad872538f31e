import json

import numpy as np
import pytest

from cohort.film_reference import make_reference
from cohort.phantoms import write_phantoms
from conventions import InputError
from drr import CURVES, FILM_STYLES, PRESETS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cts")
    write_phantoms(folder, cases=2, size=64)
    return json.loads(make_reference(folder, folder / "reference.json").read_text())


def test_every_acquisition_has_its_numbers(made):
    assert set(made["lungs"]) == {
        f"{geometry} {anchor}" for geometry in PRESETS for anchor in ("head", "centre", "lungs")
    }
    assert len(made["tones"]) == len(PRESETS) * len(CURVES) * len(FILM_STYLES)
    assert np.shape(made["thorax"]["pa"]) == (40, 40)
    for views in made["tones"].values():
        for quantiles in views.values():
            assert len(quantiles) == 101
            assert (np.diff(quantiles) >= 0).all()


def test_lungs_laid_by_their_middle_lie_around_the_isocentre(made):
    """Whatever the geometry: the box is cut by the same rule in the volume and in its radiographs."""
    for geometry in PRESETS:
        for place in made["lungs"][f"{geometry} lungs"].values():
            middles = [(np.array(place[a]) + place[b]) / 2 for a, b in (("top", "bottom"), ("left", "right"))]
            assert np.abs(middles).max() < 10


def test_a_folder_without_chests_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no CT of a whole chest"):
        make_reference(tmp_path, tmp_path / "reference.json")
