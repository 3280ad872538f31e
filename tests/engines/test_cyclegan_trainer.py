"""CycleGAN's training compared with the official one, and what a run needs besides."""

import random

import numpy as np
import pytest
import torch
from ignite.engine import Events
from torch.utils.data import DataLoader

from conventions import InputError
from engines import CycleGANTrainer, ExponentialAverage, ImagePool
from handlers import PolarityCheck
from losses import CycleLoss, LSGANLoss
from networks import PatchDiscriminator2D, ResnetGenerator, from_official
from networks.convert import official_keys
from tests.cyclegan_oracle import CYCLEGAN, image, numbers, parameters, values
from tests.cyclegan_runs import make_run

THEIR_TERMS = {
    "adversarial_real": "G_A", "adversarial_drr": "G_B", "cycle_drr": "cycle_A", "cycle_real": "cycle_B",
    "identity_real": "idt_A", "identity_drr": "idt_B", "discriminator_real": "D_A", "discriminator_drr": "D_B",
    "loss": "G_total",
}  # fmt: skip
"""They call DRRs A and films B, and name a network by the domain it starts from."""


def networks(channels=16, blocks=6):
    return {
        "G_B": ResnetGenerator(channels=channels, blocks=blocks),
        "G_A": ResnetGenerator(channels=channels, blocks=blocks),
        "D_B": PatchDiscriminator2D(channels=channels, padding=1),
        "D_A": PatchDiscriminator2D(channels=channels, padding=1),
    }


def trainer(nets, loader, identity=0.5, pool_size=50, lr=2e-4, max_epochs=1, **options):
    generators = [p for name in ("G_A", "G_B") for p in nets[name].parameters()]
    discriminators = [p for name in ("D_A", "D_B") for p in nets[name].parameters()]
    pools = {"drr": ImagePool(pool_size, seed=1), "real": ImagePool(pool_size, seed=2)}
    return CycleGANTrainer(
        device="cpu", max_epochs=max_epochs, train_data_loader=loader, to_drr=nets["G_B"], to_real=nets["G_A"],
        drr_discriminator=nets["D_B"], real_discriminator=nets["D_A"],
        optimizer=torch.optim.Adam(generators, lr, betas=(0.5, 0.999)),
        discriminator_optimizer=torch.optim.Adam(discriminators, lr, betas=(0.5, 0.999)),
        adversarial_loss=LSGANLoss(), cycle_loss=CycleLoss(10.0, 10.0, identity), pools=pools, **options,
    )  # fmt: skip


def official_run(name):
    """Our trainer from their weights on their images; what each step gave, the networks, gradient norms of step 1."""
    stored = numbers("train")[name]
    args = stored["args"]
    dtype = torch.float64 if "64" in args["dtype"] else torch.float32
    nets = networks()
    for key, network in nets.items():
        spec = [[theirs, list(network.state_dict()[ours].shape)] for ours, theirs in official_keys(network).items()]
        network.load_state_dict(from_official(parameters(spec, f"train/{key}/"), network))
        network.to(dtype)
    batch = int(args.get("batch", 1))
    shape = (batch, 1, 64, 64)
    sides = {"drr": "A", "real": "B"}
    loader = [
        {side: (image(f"train/{letter}{step}", shape).to(dtype) + 1) / 2 for side, letter in sides.items()}
        for step in range(int(args["steps"]))
    ]
    engine = trainer(nets, loader, float(args["lambda_identity"]), int(args["pool_size"]))
    shared = random.Random(args["python_random_seed"])  # their two pools draw from one generator
    for pool in engine.pools.values():
        pool.random = shared
    given, norms = [], {}

    def keep(trained):
        output = trained.state.output
        given.append({theirs: float(output[ours]) for ours, theirs in THEIR_TERMS.items() if ours in output})
        if trained.state.iteration == 1:
            for key, network in nets.items():
                keys = official_keys(network)
                norms[key] = {keys[n]: float(p.grad.norm()) for n, p in network.named_parameters()}

    engine.add_event_handler(Events.ITERATION_COMPLETED, keep)
    engine.run()
    return stored, given, norms, nets, dtype


def without_effect(key, network):
    """Biases before an instance norm have no gradient but rounding."""
    free = ("model.23.bias",) if network[0] == "G" else ("model.0.bias", "model.11.bias")
    return key.endswith(".bias") and key not in free


@pytest.mark.parametrize("name", ["f64_idt0.5_pool50", "f64_idt0_pool2", "f64_batch2"])
def test_the_steps_are_theirs(oracle, name):
    stored, given, norms, nets, dtype = official_run(name)
    for number, (ours, theirs) in enumerate(zip(given, stored["steps"], strict=True)):
        tolerance = 1e-9 if number == 0 else 1e-6
        for term, value in ours.items():
            assert value == pytest.approx(theirs[term], rel=tolerance, abs=tolerance), (number, term)
    for key, wanted in stored["steps"][0]["grad_norm"].items():
        for entry, value in wanted.items():
            if not without_effect(entry, key):
                assert norms[key][entry] == pytest.approx(value, rel=1e-8), (key, entry)
    test = image("train/test", (1, 1, 64, 64)).to(dtype)
    outputs = np.load(CYCLEGAN / "train.npz")
    for key, network in nets.items():
        with torch.no_grad():
            np.testing.assert_allclose(network(test).numpy(), outputs[f"{name}/{key}"], atol=2e-6)


def test_inputs_joined_in_one_batch_give_the_same(oracle, monkeypatch):
    monkeypatch.setattr("engines.cyclegan_trainer.JOINED_ON", ("cpu",))
    stored, given, norms, *_ = official_run("f64_batch2")
    for number, (ours, theirs) in enumerate(zip(given, stored["steps"], strict=True)):
        assert ours == pytest.approx({term: theirs[term] for term in ours}, rel=1e-9 if number == 0 else 1e-6)
    assert norms["G_A"]["model.1.weight"] == pytest.approx(stored["steps"][0]["grad_norm"]["G_A"]["model.1.weight"])


def test_in_float32_the_first_step_is_theirs_but_for_rounding(oracle):
    stored, given, *_ = official_run("f32_idt0.5_pool50")
    for term, value in given[0].items():
        assert value == pytest.approx(stored["steps"][0][term], rel=2e-5), term


class Images(torch.utils.data.Dataset):
    """Blobs and their negatives' squares: two styles."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        noise = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(index))
        blob = torch.nn.functional.avg_pool2d(noise, 5, 1)[:, :32, :32]
        return {"drr": blob, "real": blob.flip(-1) ** 2, "case": f"{index}"}


def test_weights_move_together_and_the_average_follows():
    torch.manual_seed(0)
    nets = networks(4, 1)
    average = ExponentialAverage(nets["G_B"], 0.9)
    before = {name: [p.clone() for p in net.parameters()] for name, net in nets.items()}
    trainer(nets, DataLoader(Images()), ema=average, clip_norm=1.0, accumulation_steps=2).run()
    for name, net in nets.items():
        assert any(not torch.equal(a, b) for a, b in zip(before[name], net.parameters(), strict=True)), name
    averaged = next(average.module.parameters())
    assert not torch.equal(averaged, before["G_B"][0])
    assert not torch.equal(averaged, next(nets["G_B"].parameters()))


def test_inverted_translations_end_the_run():
    class Negative(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            return -x * self.one

    nets = {**networks(4, 1), "G_A": Negative(), "G_B": Negative()}
    with pytest.raises(InputError, match="translations come out inverted"):
        trainer(nets, DataLoader(Images()), train_handlers=[PolarityCheck(3)]).run()


def test_a_loss_that_is_not_finite_names_its_term_and_case():
    nets = networks(4, 1)
    batch = {"drr": torch.full((1, 1, 32, 32), float("nan")), "real": torch.rand(1, 1, 32, 32), "case": ["smith"]}
    with pytest.raises(InputError, match=r"of smith is nan in epoch 1"):
        trainer(nets, [batch]).run()


def test_the_losses_are_the_official_ones(oracle):
    stored = numbers("losses")
    scores = 2 * values("l:pred", (2, 1, 5, 7))
    x, y = values("l:x", (2, 1, 16, 12)), values("l:y", (2, 1, 16, 12))
    assert float(LSGANLoss()(scores, True, True)) == pytest.approx(stored["lsgan"]["real"], rel=1e-12)
    assert float(LSGANLoss()(scores, False, True)) == pytest.approx(stored["lsgan"]["fake"], rel=1e-12)
    terms = CycleLoss(1.0, 1.0, 0.0)({"drr": x, "real": x}, {"drr": y, "real": y})
    assert float(terms["cycle_drr"]) == pytest.approx(stored["l1_x_y"], rel=1e-12)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_full_precision(tmp_path, precision):
    first = {}
    for kind in ("fp32", precision):
        trainer = make_run(tmp_path / kind, max_epochs=1, precision=kind, epoch_length=1)
        trainer.run()
        names = ("loss", "cycle_real", "identity_drr", "adversarial_drr", "discriminator_drr")
        first[kind] = [float(trainer.state.output[name]) for name in names]
    assert first[precision] == pytest.approx(first["fp32"], rel=0.03)
