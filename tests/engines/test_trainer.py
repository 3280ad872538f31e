"""The training step against hand-written steps."""

import copy

import pytest
import torch
from monai.engines.utils import default_prepare_batch
from torch import nn

from conventions import InputError, Keys, expand_views
from engines import Adversary, ConstantThenLinear, ExponentialAverage, X2CTTrainer
from losses import LaplaceLoss, LSGANLoss, ProjectionLoss, WeightedLosses

ADAM = {"lr": 2e-4, "betas": (0.5, 0.99)}


def paper_losses():
    return WeightedLosses(
        {
            "reconstruction": {"loss": nn.MSELoss(), "weight": 10.0},
            "projection": {"loss": ProjectionLoss(), "weight": 10.0},
        }
    )


def adversary_of(discriminator, **options):
    optimizer = torch.optim.Adam(discriminator.parameters(), **ADAM)
    return Adversary(discriminator, optimizer, LSGANLoss(), **options)


def trainer_of(network, discriminator, batches, optimizer=None, with_adversary=None, **options):
    adversary = None if discriminator is None else adversary_of(discriminator, **(with_adversary or {}))
    return X2CTTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=batches if isinstance(batches, list) else [batches],
        network=network,
        optimizer=optimizer or torch.optim.Adam(network.parameters(), **ADAM),
        loss_function=paper_losses(),
        adversary=adversary,
        decollate=False,
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
    batch["case"] = ["a", "b"]
    with pytest.raises(InputError, match=r"the loss 'reconstruction' of a, b is inf in epoch 1; .* --learning_rate"):
        trainer_of(generator, None, batch).run()
    assert float(generator.weight) == 1.0


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {
        "image": torch.rand(2, 2, 8, 8),
        "label": torch.rand(2, 1, 8, 8, 8),
        "geometry": torch.arange(48.0).reshape(2, 2, 4, 3),
    }


def test_the_discriminator_sees_the_radiographs_and_the_true_volume_as_real(batch):
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


def test_the_network_is_given_the_views_of_its_radiographs(batch):
    generator = Scale()
    shown = []
    generator.register_forward_pre_hook(lambda _, args, kwargs: shown.append((args, kwargs)), with_kwargs=True)
    trainer_of(generator, None, batch).run()
    [((image,), options)] = shown
    assert torch.equal(image, batch["image"])
    assert options.keys() == {"geometry"}
    assert torch.equal(options["geometry"], batch["geometry"])


def test_both_schedules_are_stepped_after_every_epoch(batch):
    generator, probe = Scale(), Probe()
    optimizers = [torch.optim.SGD(network.parameters(), lr=1.0) for network in (generator, probe)]
    schedules = [ConstantThenLinear(optimizer, 1, 3) for optimizer in optimizers]
    X2CTTrainer(
        device="cpu",
        max_epochs=2,
        train_data_loader=[batch],
        network=generator,
        optimizer=optimizers[0],
        loss_function=paper_losses(),
        adversary=Adversary(probe, optimizers[1], LSGANLoss(), lr_scheduler=schedules[1]),
        lr_scheduler=schedules[0],
    ).run()
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == [0.25, 0.25]  # after 0.75 and 0.5


def test_monais_own_arguments_are_passed_through(batch):
    trainer = trainer_of(Scale(), None, [batch] * 3, epoch_length=2, non_blocking=True)
    trainer.run()
    assert (trainer.state.iteration, trainer.non_blocking) == (2, True)
    with pytest.raises(TypeError, match="amp"):
        trainer_of(Scale(), None, batch, amp=True)
    with pytest.raises(TypeError, match="clip_nrom"):
        trainer_of(Scale(), None, batch, clip_nrom=1.0)


def test_without_a_discriminator_it_is_x2ct_cnn(batch):
    generator = Scale()
    trainer = trainer_of(generator, None, batch)
    trainer.run()
    assert "adversarial" not in trainer.state.output
    assert float(generator.weight) != 0.5


def test_a_weight_needs_its_loss(batch):
    with pytest.raises(ValueError, match="needs feature_matching_loss"):
        adversary_of(Probe(), feature_matching_weight=1.0)
    with pytest.raises(ValueError, match="needs auxiliary_loss"):
        trainer_of(Scale(), None, batch, auxiliary_weight=1.0)
    with pytest.raises(InputError, match="unknown precision 'fp8': choose one of fp32, bf16, fp16"):
        trainer_of(Scale(), None, batch, precision="fp8")


@pytest.mark.parametrize("steps", [1, 3])
def test_in_the_warm_up_the_discriminator_learns_and_does_not_judge(batch, steps):
    generator, probe = Scale(), Probe()
    trainer = trainer_of(generator, probe, [batch] * steps, with_adversary={"warmup_steps": 2})
    trainer.run()
    assert float(probe.weight) != 2.0
    assert len(probe.seen) == {1: 2, 3: 2 + 2 + 3}[steps]
    assert (float(trainer.state.output["adversarial"]) == 0.0) == (steps == 1)


def halves(batch):
    return [{key: value[i : i + 1] for key, value in batch.items()} for i in range(2)]


def test_accumulated_steps_are_those_of_the_larger_batch(batch):
    whole, parts = Scale(), Scale()
    options = {"clip_norm": None}
    probes = Probe(), Probe()
    sgd = lambda network: torch.optim.SGD(network.parameters(), lr=0.1)  # noqa: E731
    trainer_of(whole, probes[0], batch, sgd(whole), **options).run()
    trainer_of(parts, probes[1], halves(batch), sgd(parts), accumulation_steps=2, **options).run()
    torch.testing.assert_close(parts.weight, whole.weight)
    torch.testing.assert_close(probes[1].weight, probes[0].weight)


def test_the_last_step_of_an_epoch_may_hold_fewer_batches(batch):
    parts, steps = Scale(), []
    sgd = torch.optim.SGD(parts.parameters(), lr=0.1)
    sgd.register_step_post_hook(lambda *_: steps.append(float(parts.weight.grad)))
    first, second = halves(batch)
    trainer_of(parts, None, [first, second, first], sgd, accumulation_steps=2).run()
    assert len(steps) == 2
    alone = Scale()
    with torch.no_grad():
        alone.weight.copy_(torch.tensor(0.5) - 0.1 * steps[0])
    trainer_of(alone, None, first, torch.optim.SGD(alone.parameters(), lr=0.1)).run()
    assert float(alone.weight.grad) == pytest.approx(steps[1], rel=1e-5)


def test_gradients_are_clipped(batch):
    generator, probe = Scale(), Probe()
    sgd = torch.optim.SGD(generator.parameters(), lr=1.0)
    trainer_of(generator, probe, batch, sgd, clip_norm=0.01).run()
    assert abs(float(generator.weight) - 0.5) == pytest.approx(0.01, rel=1e-4)
    assert float(probe.weight.grad.abs()) <= 0.01 + 1e-6


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_fewer_bits_give_nearly_the_same_step(batch, precision):
    torch.manual_seed(0)
    exact = nn.Sequential(nn.Flatten(), nn.Linear(128, 512), nn.Unflatten(1, (1, 8, 8, 8)))
    rounded = copy.deepcopy(exact)
    trainers = [
        trainer_of(exact, Probe(), batch, prepare_batch=default_prepare_batch),
        trainer_of(rounded, Probe(), batch, prepare_batch=default_prepare_batch, precision=precision),
    ]
    for trainer in trainers:
        trainer.run()
    loss, expected = (float(trainer.state.output["loss"]) for trainer in reversed(trainers))
    assert loss == pytest.approx(expected, rel=1e-2)
    assert loss != expected
    scale = trainers[1].precision.state_dict()["generator"]
    assert bool(scale) == (precision == "fp16")


def test_compiled_and_channels_last_give_the_same(batch):
    torch.manual_seed(0)
    plain = nn.Sequential(
        nn.Conv2d(2, 2, 3, padding=1),
        nn.Flatten(),
        nn.Linear(128, 1024),
        nn.Unflatten(1, (2, 8, 8, 8)),
        nn.Conv3d(2, 1, 3, padding=1),
    )
    other = copy.deepcopy(plain)
    for network, options in ((plain, {}), (other, {"channels_last": True, "compile": True})):
        trainer_of(network, None, batch, prepare_batch=default_prepare_batch, **options).run()
    assert plain.state_dict().keys() == other.state_dict().keys()
    for a, b in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    assert other[0].weight.stride()[1] == other[4].weight.stride()[1] == 1, "channels are not last"


def test_the_average_follows_by_hand(batch):
    generator = Scale()
    ema = ExponentialAverage(generator, decay=0.5)
    weights = []
    sgd = torch.optim.SGD(generator.parameters(), lr=0.01)
    sgd.register_step_post_hook(lambda *_: weights.append(float(generator.weight)))
    trainer_of(generator, None, [batch] * 4, sgd, ema=ema).run()
    expected = weights[0]
    for count, weight in enumerate(weights[1:], start=1):
        kept = min(0.5, (1 + count) / (10 + count))
        expected = kept * expected + (1 - kept) * weight
    assert float(ema.module.weight) == pytest.approx(expected, rel=1e-6)
    assert float(ema.module.weight) != float(generator.weight)


def test_without_decay_the_average_is_the_network(batch):
    generator = Scale()
    ema = ExponentialAverage(generator, decay=0.0)
    trainer_of(generator, None, [batch] * 2, ema=ema).run()
    assert torch.equal(ema.module.weight, generator.weight)
    with pytest.raises(InputError, match="the decay of the average is 1"):
        ExponentialAverage(generator, decay=1)


class Guess(Scale):
    """The same, with an estimate of its error, one number in a layer of its own."""

    def __init__(self):
        super().__init__()
        self.error = nn.Parameter(torch.tensor(0.2))

    def forward_with_error(self, image, geometry=None):
        volume = self(image)
        return volume, self.error.expand_as(volume)


def test_an_expected_error_is_learned_and_changes_nothing_else(batch):
    trained = {}
    for loss in (None, LaplaceLoss()):
        network = Guess()
        losses = WeightedLosses({"reconstruction": {"loss": nn.L1Loss(), "weight": 1.0}}, loss)
        trainer = X2CTTrainer(
            "cpu", 1, [batch] * 3, network, torch.optim.Adam(network.parameters(), **ADAM), losses, decollate=False
        )
        trainer.run()
        trained[loss is not None] = (network, trainer.state.output)
    plain, with_error = trained[False][0], trained[True][0]
    assert torch.equal(plain.weight, with_error.weight)
    assert float(plain.error) == pytest.approx(0.2)
    # It moves towards the mean absolute error of its own volumes.
    output = trained[True][1]
    actual = float((output["pred"] - output["label"]).abs().mean())
    assert abs(float(with_error.error) - actual) < abs(0.2 - actual)
    assert float(output["loss"]) == pytest.approx(float(output["reconstruction"]))
    assert "expected_error" in output
