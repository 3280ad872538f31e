import pytest

from conventions import InputError, View
from drr import PRESETS
from readers import lung_place, reference_sources, tone_quantiles
from readers.radiographs.reference import thorax_template


def test_the_shipped_reference_has_every_preset():
    assert "lidc_idri_0001" in reference_sources()
    for view in View:
        assert thorax_template(view).shape == (40, 40)
        for geometry in PRESETS:
            for anchor in ("head", "centre", "lungs"):
                place = lung_place(geometry, anchor, view)
                assert 180 < place.bottom - place.top < 260
                assert 150 < place.right - place.left < 270
    assert tone_quantiles("chest", "water", "linear", View.PA)[-1] <= 1


def test_lungs_laid_by_their_middle_lie_in_the_middle():
    for geometry in PRESETS:
        for view in View:
            place = lung_place(geometry, "lungs", view)
            assert abs(place.top + place.bottom) / 2 < 5
            assert abs(place.left + place.right) / 2 < 5


def test_an_acquisition_without_a_reference_is_refused():
    with pytest.raises(InputError, match="no reference tones for 'chest water odd'"):
        tone_quantiles("chest", "water", "odd", View.PA)
    with pytest.raises(InputError, match="no reference for geometry 'abdomen'"):
        lung_place("abdomen", "head", View.PA)
