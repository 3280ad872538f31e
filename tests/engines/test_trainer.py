"""The training step against hand-written steps."""

import pytest
import torch
from torch import nn

from conventions import InputError, Keys, expand_views
from engines import X2CTTrainer
from losses import LSGANLoss, ProjectionLoss, WeightedLosses

ADAM = {"lr": 2e-4, "betas": (0.5, 0.99)}


def paper_losses():
    return WeightedLosses(
        {
            "reconstruction": {"loss": nn.MSELoss(), "weight": 10.0},
            "projection": {"loss": ProjectionLoss(), "weight": 10.0},
        }
    )


def trainer_of(network, discriminator, batch, **options):
    with_d = {}
    if discriminator is not None:
        with_d = {
            "discriminator": discriminator,
            "discriminator_optimizer": torch.optim.Adam(discriminator.parameters(), **ADAM),
            "adversarial_loss": LSGANLoss(),
        }
    return X2CTTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[batch],
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), **ADAM),
        loss_function=paper_losses(),
        decollate=False,
        **with_d,
        **options,
    )


class Scale(nn.Module):
    """A generator of one number: the PA's mean, scaled."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def forward(self, image, geometry=None):
        return self.weight * expand_views(image, image.shape[-1]).mean(1, keepdim=True)


class Probe(nn.Module):
    """A discriminator that remembers what it was shown, and scores a volume by its scaled mean."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.seen = []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.weight * x.mean((1, 2, 3, 4), keepdim=True)


class Explode(nn.Module):
    """A generator whose output is not finite."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, image, geometry=None):
        return self.weight / torch.zeros(image.shape[0], 1, 8, 8, 8)


def test_a_loss_that_is_not_finite_ends_the_run(batch):
    generator = Explode()
    with pytest.raises(InputError, match=r"the loss 'reconstruction' is inf in epoch 1; .* --learning_rate"):
        trainer_of(generator, None, batch).run()
    assert float(generator.weight) == 1.0


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {"image": torch.rand(2, 2, 8, 8), "label": torch.rand(2, 1, 8, 8, 8)}


def test_the_discriminator_sees_the_true_volume_as_real_and_the_radiographs_beside_it(batch):
    generator, probe = Scale(), Probe()
    fake = generator(batch["image"]).detach()
    trainer_of(generator, probe, batch).run()
    lifted = expand_views(batch["image"], 8)
    assert len(probe.seen) == 3  # the fake in the generator's step, the real and the same fake in the discriminator's
    for shown, volume in zip(probe.seen, (fake, batch["label"], fake), strict=True):
        torch.testing.assert_close(shown, torch.cat([lifted, volume], dim=1))


def test_the_generators_step_leaves_no_gradient_in_the_discriminator(batch):
    generator, probe = Scale(), Probe()
    probe.seen = None
    frozen = []
    probe.forward = lambda x: frozen.append(probe.weight.requires_grad) or probe.weight * x.mean((1, 2, 3, 4))
    trainer_of(generator, probe, batch).run()
    assert frozen == [False, True, True]


def test_total_is_the_sum_of_the_named_terms(batch):
    trainer = trainer_of(Scale(), Probe(), batch)
    trainer.run()
    output = trainer.state.output
    total = output["reconstruction"] + output["projection"] + output["adversarial"]
    assert float(output[Keys.LOSS]) == pytest.approx(float(total))
    assert {"discriminator", "image", "label", "pred"} <= set(output)


def test_without_a_discriminator_it_is_x2ct_cnn(batch):
    generator = Scale()
    trainer = trainer_of(generator, None, batch)
    trainer.run()
    assert "adversarial" not in trainer.state.output
    assert float(generator.weight) != 0.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"discriminator": Probe()}, "needs both"),
        ({"feature_matching_weight": 1.0}, "needs feature_matching_loss and a discriminator"),
        ({"auxiliary_weight": 1.0}, "needs auxiliary_loss"),
    ],
)
def test_what_belongs_together_is_asked_for(batch, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        X2CTTrainer("cpu", 1, [batch], Scale(), None, paper_losses(), **options)
