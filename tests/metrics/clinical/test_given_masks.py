import numpy as np
import pytest
import torch

from metrics import MASK_MEASURES, given_mask_figures, masks_needed

LOBES = [
    "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
    "lung_lower_lobe_right",
]  # fmt: skip
BONES = ["vertebrae_T4", "vertebrae_T5", "rib_left_1", "rib_right_1", "sternum"]


def cube(low, high, side=20):
    """A cube of voxels low to high along each axis, (1, 1, side, side, side)."""
    mask = torch.zeros(1, 1, side, side, side, dtype=torch.bool)
    mask[..., low:high, low:high, low:high] = True
    return mask


def test_structures_are_made_up_of_the_masks_of_total_segmentator():
    needed = masks_needed([*LOBES, *BONES, "clavicula_left", "heart", "liver", "trachea"])
    assert sorted(needed["lung_left"]) == sorted(LOBES[:2])
    assert sorted(needed["lung_right"]) == sorted(LOBES[2:])
    assert sorted(needed["lung"]) == sorted(LOBES)
    assert sorted(needed["bone"]) == sorted([*BONES, "clavicula_left"])
    assert needed["heart"] == ["heart"]
    assert "body" not in needed
    assert masks_needed(["body_trunc", "body_extremities"]) == {"body": ["body_trunc", "body_extremities"]}
    assert set(masks_needed(["lung_left", "lung_right"])) == {"lung_left", "lung_right", "lung"}


@pytest.mark.parametrize("missing", ["lung_middle_lobe_right", "sternum"])
def test_a_structure_that_lacks_a_part_is_left_out(missing):
    needed = masks_needed([name for name in [*LOBES, *BONES] if name != missing])
    assert set(needed) == ({"bone", "lung_left"} if "lobe" in missing else {"lung", "lung_right", "lung_left"})


def test_cubes_of_known_size_are_compared_in_closed_form():
    """Cubes of 10^3 and 8^3 voxels, one in the middle of the other: Dice 2 * 512 / 1512, surfaces a voxel apart."""
    found = {"lung": cube(4, 14), "body": cube(0, 20), "bone": cube(0, 2)}
    found |= {"lung_right": cube(4, 14), "lung_left": cube(4, 14)}
    heart = torch.zeros(1, 1, 20, 20, 20, dtype=torch.bool)
    heart[..., 3:9, 3:9, 5:13] = True
    values = given_mask_figures(found, {"lung": cube(5, 13), "heart": heart}, 30.0, 2.5)
    assert set(values) == set(MASK_MEASURES)
    assert values["mask_lung_dice"] == pytest.approx(1024 / 1512)
    assert values["mask_lung_hd95_mm"] == pytest.approx(2.5 * 3**0.5, abs=2.0)
    assert values["mask_lung_nsd"] == 1
    assert values["mask_lung_ml_error"] == pytest.approx((1000 - 512) * 2.5**3 / 1000)
    assert values["mask_heart_width_mm_error"] == pytest.approx(30 - 8 * 2.5)
    given = {name for name, value in values.items() if np.isfinite(value)}
    assert given == {"mask_lung_dice", "mask_lung_hd95_mm", "mask_lung_nsd", "mask_lung_ml_error",
                     "mask_heart_width_mm_error"}  # fmt: skip


def test_an_empty_mask_is_no_truth():
    found = dict.fromkeys(("lung", "body", "bone", "lung_right", "lung_left"), cube(4, 14))
    values = given_mask_figures(found, {"lung": cube(0, 0), "heart": cube(0, 0)}, 100.0, 2.5)
    assert all(np.isnan(value) for value in values.values())
