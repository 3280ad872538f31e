"""The training step against the authors' (oracle) and against hand-written steps."""

import json

import pytest
import torch
from torch import nn

from conventions import InputError, Keys, expand_views
from engines import X2CTTrainer
from losses import LSGANLoss, ProjectionLoss, WeightedLosses
from networks import build_network, from_official
from networks.convert import official_keys
from tests.oracle import official_state_dict, random_input

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


@pytest.mark.slow
def test_one_step_gives_the_authors_losses_and_gradients(oracle):
    network = build_network("x2ct_biplanar", image_size=64, dropout=0.0)
    official = official_state_dict("G__multiview_network_denseUNetFuse_transposed", image_size=64)
    network.load_state_dict(from_official(official, network))
    discriminator = build_network("patchgan_3d", in_channels=3)
    official = official_state_dict("D__basic3d_in3")
    discriminator.load_state_dict(from_official(official, discriminator))
    batch = {
        "image": torch.cat([random_input(f"xray{i}_64_b2", (2, 1, 64, 64)) for i in (1, 2)], dim=1),
        "label": random_input("ct_64_b2", (2, 64, 64, 64))[:, None],
    }
    trainer = trainer_of(network, discriminator, batch)
    trainer.run()

    expected = json.loads((oracle / "x2ct" / "step_mv_gan.json").read_text())
    losses, output = expected["losses_step1"], trainer.state.output
    assert float(output["reconstruction"]) == pytest.approx(losses["idt"], rel=1e-5)
    assert float(output["projection"]) == pytest.approx(losses["map_m"], rel=1e-5)
    # The scores pass on the rounding of the generator's volume (2e-3 at most), which sums up in another order here.
    assert float(output["adversarial"]) == pytest.approx(losses["G"], rel=5e-5)
    assert float(output["discriminator"]) == pytest.approx(losses["D"], rel=5e-5)

    theirs = official_keys(discriminator)
    for name, parameter in discriminator.named_parameters():
        norm = expected["D_grad_norm_sum"][theirs[name]][0]
        assert float(parameter.grad.norm()) == pytest.approx(norm, rel=2e-3), name
    theirs = official_keys(network)
    norms = {name: (expected["G_grad_norm_sum"][key] or [0.0])[0] for name, key in theirs.items()}
    for name, parameter in network.named_parameters():
        if norms[name] > 1e-3:  # biases before a norm have none but rounding; the tails of the views have none at all
            assert float(parameter.grad.norm()) == pytest.approx(norms[name], rel=2e-2), name


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


def test_a_discriminator_needs_its_optimizer(batch):
    with pytest.raises(ValueError, match="needs both"):
        X2CTTrainer("cpu", 1, [batch], Scale(), None, paper_losses(), discriminator=Probe())
