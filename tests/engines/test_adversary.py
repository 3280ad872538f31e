"""What the discriminator is shown, and what of it is saved."""

import copy

import pytest
import torch
from torch import nn

from conventions import InputError
from engines import Adversary, ConstantThenLinear, ImagePool
from losses import LSGANLoss


class Mean(nn.Module):
    """A discriminator that scores a volume by its scaled mean."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.weight * x.mean((1, 2, 3, 4), keepdim=True)


def adversary_of(discriminator=None, schedule=False, pool=False, **options):
    discriminator = discriminator or Mean()
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.1)
    return Adversary(
        discriminator,
        optimizer,
        LSGANLoss(),
        lr_scheduler=ConstantThenLinear(optimizer, 1, 9) if schedule else None,
        image_pool=ImagePool(2, seed=1) if pool else None,
        **options,
    )


def step(adversary, seed):
    """One step of the discriminator and of its schedule, on volumes that follow from the seed."""
    generator = torch.Generator().manual_seed(seed)
    fake, real = torch.rand(2, 1, 1, 8, 8, 8, generator=generator)
    adversary.optimizer.zero_grad()
    adversary.own_loss(torch.rand(1, 2, 8, 8, generator=generator), fake, real).backward()
    adversary.optimizer.step()
    adversary.lr_scheduler.step()
    return adversary.discriminator.weight.detach().clone()


@pytest.mark.parametrize("pool", [pytest.param(True, id="pool"), pytest.param(False, id="no pool")])
def test_it_continues_bit_for_bit(pool):
    whole = adversary_of(schedule=True, pool=pool)
    for seed in range(3):
        step(whole, seed)
    state = copy.deepcopy(whole.state_dict())
    expected = [step(whole, seed) for seed in range(3, 8)]
    resumed = adversary_of(schedule=True, pool=pool)
    resumed.load_state_dict(state)
    assert torch.equal(torch.stack([step(resumed, seed) for seed in range(3, 8)]), torch.stack(expected))


def test_what_is_saved_is_what_there_is():
    assert adversary_of().state_dict().keys() == {"discriminator", "optimizer"}
    everything = adversary_of(schedule=True, pool=True).state_dict()
    assert everything.keys() == {"discriminator", "optimizer", "lr_scheduler", "image_pool"}
    adversary_of().load_state_dict(everything)  # a schedule and a pool that are no longer wanted are no harm
    with pytest.raises(KeyError, match="lr_scheduler"):
        adversary_of(schedule=True).load_state_dict(adversary_of().state_dict())


@pytest.mark.parametrize("views", [1, 2, 3, 8])
def test_a_conditional_one_sees_a_pa_and_a_lateral_at_most(views):
    image, volume = torch.rand(1, views, 8, 8), torch.rand(1, 1, 8, 8, 8)
    if views <= 2:
        assert adversary_of().seen(image, volume)[0].shape == (1, views + 1, 8, 8, 8)
    else:
        with pytest.raises(
            InputError, match=f"needs a PA and a lateral radiograph, or a PA alone, .* has {views} views"
        ):
            adversary_of().seen(image, volume)
    assert adversary_of(conditional=False).seen(image, volume)[0] is volume


def test_a_crop_is_the_same_place_of_truth_prediction_and_radiographs():
    adversary, image = adversary_of(crop=4), torch.rand(2, 2, 8, 8)
    ramp = torch.arange(512.0).reshape(1, 1, 8, 8, 8).expand(2, -1, -1, -1, -1)
    real, fake = adversary.seen(image, ramp, ramp + 1000)
    assert real.shape == (2, 3, 4, 4, 4)
    torch.testing.assert_close(real[:, 2] + 1000, fake[:, 2])
    torch.testing.assert_close(real[:, :2], fake[:, :2])
    at = int(real[0, 2, 0, 0, 0])
    z, y, x = at // 64, at // 8 % 8, at % 8
    assert float(real[0, 0, 0, 0, 0]) == float(image[0, 0, z, x])
    assert float(real[0, 1, 0, 0, 0]) == float(image[0, 1, z, y])
