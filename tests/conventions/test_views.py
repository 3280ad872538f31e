import pytest
import torch
from monai.utils import CommonKeys

from conventions import VIEW_TO_VOLUME, VOLUME_TO_VIEW, Keys, View, expand_views


def test_permutations_are_inverse():
    volume = torch.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    for view in View:
        assert torch.equal(volume.permute(VOLUME_TO_VIEW[view]).permute(VIEW_TO_VOLUME[view]), volume)


def test_rows_are_d_and_columns_are_w_or_h():
    volume = torch.zeros(1, 1, 4, 5, 6)
    assert volume.permute(VOLUME_TO_VIEW[View.PA]).shape == (1, 1, 5, 4, 6)
    assert volume.permute(VOLUME_TO_VIEW[View.LATERAL]).shape == (1, 1, 6, 4, 5)


def test_expand_views_lays_each_radiograph_over_the_volume():
    image = torch.rand(2, 2, 7, 7)
    lifted = expand_views(image, 7)
    assert lifted.shape == (2, 2, 7, 7, 7)
    for h in range(7):
        assert torch.equal(lifted[:, 0, :, h, :], image[:, 0])
    for w in range(7):
        assert torch.equal(lifted[:, 1, :, :, w], image[:, 1])


def test_a_view_without_a_name_is_refused():
    with pytest.raises(ValueError, match="3 radiographs"):
        expand_views(torch.rand(1, 3, 4, 4), 4)


def test_keys_are_monais_own():
    assert (Keys.IMAGE, Keys.LABEL, Keys.PRED, Keys.LOSS) == (
        CommonKeys.IMAGE,
        CommonKeys.LABEL,
        CommonKeys.PRED,
        CommonKeys.LOSS,
    )
