import pytest
import torch
from monai.data import MetaTensor

from engines import RandomViews


def batch(views=4):
    """Views that hold their own number."""
    numbers = torch.arange(views, dtype=torch.float32)
    return {
        "image": MetaTensor(numbers[None, :, None, None].expand(2, -1, 8, 8).clone()),
        "label": torch.zeros(2, 1, 4, 4, 4),
        "geometry": numbers[None, :, None, None].expand(2, -1, 4, 3).clone(),
    }


def test_image_and_geometry_keep_together():
    torch.manual_seed(0)
    prepare = RandomViews([1, 1, 1, 1])
    for _ in range(20):
        image, label, args, extra = prepare(batch(), "cpu")
        assert image.shape[1] == extra["geometry"].shape[1]
        assert torch.equal(torch.as_tensor(image[:, :, 0, 0]), extra["geometry"][:, :, 0, 0])
        assert len(set(image[0, :, 0, 0].tolist())) == image.shape[1]
        assert label.shape == (2, 1, 4, 4, 4)
        assert args == ()


def test_numbers_and_views_follow_the_shares():
    torch.manual_seed(0)
    drawn = [RandomViews([1, 2, 1], first=0.5).draw(4).tolist() for _ in range(4000)]
    counts = torch.bincount(torch.tensor([len(views) for views in drawn]), minlength=5) / 4000
    torch.testing.assert_close(counts, torch.tensor([0, 0.25, 0.5, 0.25, 0]), atol=0.03, rtol=0)
    pairs = [sorted(views) for views in drawn if len(views) == 2]
    # Half are the first two, of the other half a sixth: there are six pairs of four views.
    assert sum(pair == [0, 1] for pair in pairs) / len(pairs) == pytest.approx(0.5 + 0.5 / 6, abs=0.04)
    assert {tuple(views) for views in drawn if sorted(views) == [0, 1]} == {(0, 1), (1, 0)}


def test_no_more_views_than_there_are():
    assert all(len(RandomViews([0.1, 1, 1]).draw(2)) <= 2 for _ in range(20))


@pytest.mark.parametrize("shares", [[0, 0], [-1, 2]])
def test_shares_that_make_no_sense(shares):
    with pytest.raises(ValueError, match="shares must not be negative"):
        RandomViews(shares)
