import numpy as np

from readers import bone_mask

SPACING = 2.5


def test_a_hollow_bone_is_whole_and_blood_and_specks_are_not_bone():
    volume = np.full((24, 40, 40), 40.0)
    z, y, x = np.indices(volume.shape)
    outer, inner = np.hypot(y - 12, x - 12) < 7, np.hypot(y - 12, x - 12) < 4.5
    volume[outer] = 700
    volume[inner] = 60  # marrow
    volume[np.hypot(y - 30, x - 12) < 6] = 330  # contrast medium
    volume[np.hypot(y - 12, x - 32) < 1.5] = np.where(z < 4, 900, 40)[np.hypot(y - 12, x - 32) < 1.5]  # a clip
    mask = bone_mask(volume, SPACING)
    np.testing.assert_array_equal(mask, outer)


def test_without_bones_the_mask_is_empty():
    assert not bone_mask(np.zeros((4, 5, 6)), SPACING).any()
