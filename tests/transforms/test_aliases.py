"""The names that MONAI gives to its dictionary transforms."""

import pytest
from monai.transforms import MapTransform

import transforms

DICTIONARY_TRANSFORMS = sorted(
    name
    for name, value in vars(transforms).items()
    if name.endswith("d") and isinstance(value, type) and issubclass(value, MapTransform)
)


def test_there_are_dictionary_transforms():
    assert {"RayCastDRRd", "ReadRadiographd", "HUWindowd"} < set(DICTIONARY_TRANSFORMS)


@pytest.mark.parametrize("name", DICTIONARY_TRANSFORMS)
def test_each_has_both_other_names(name):
    for ending in ("D", "Dict"):
        assert getattr(transforms, name[:-1] + ending) is getattr(transforms, name)
