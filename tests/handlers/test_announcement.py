import logging
import re

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from engines import Adversary, X2CTTrainer
from handlers import Announcement, expected_bytes
from losses import LSGANLoss, ProjectionLoss, WeightedLosses
from networks import build_network

TINY = {"image_size": 64, "stem_channels": 4, "growth_rate": 4, "dense_layers": [1] * 5, "decoder_channels": [8] * 6}


def tiny_trainer(batches, handlers=(), epochs=1):
    network = build_network("x2ct_biplanar", **TINY)
    discriminator = build_network("patchgan_3d", channels=4)
    adversary = Adversary(discriminator, torch.optim.Adam(discriminator.parameters()), LSGANLoss())
    losses = {"reconstruction": {"loss": nn.MSELoss(), "weight": 1.0}}
    losses["projection"] = {"loss": ProjectionLoss(), "weight": 1.0}
    return X2CTTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.Adam(network.parameters()),
        loss_function=WeightedLosses(losses),
        adversary=adversary,
        train_handlers=list(handlers),
        decollate=False,
    )


def batch(size=64):
    return {
        "image": torch.rand(1, 2, size, size),
        "label": torch.rand(1, 1, size, size, size),
        "geometry": torch.zeros(1, 2, 4, 3),
        "case": ["a"],
    }


def test_what_is_kept_for_the_backward_pass_is_counted():
    """Compared with what torch keeps in a real forward pass."""
    trainer = tiny_trainer([])
    kept = {}
    item = batch()

    def remember(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        volume = trainer.network(item["image"])
        trainer.adversary.discriminator.requires_grad_(False)(trainer.adversary.seen(item["image"], volume)[0])
    weights = sum(p.numel() for m in (trainer.network, trainer.adversary.discriminator) for p in m.parameters())
    expected = sum(kept.values()) + 16 * weights
    assert expected_bytes(trainer, item) == pytest.approx(expected, rel=0.02)
    assert next(trainer.network.parameters()).device.type == "cpu"


def test_it_says_what_will_be_done_and_how_long_it_takes(caplog):
    handler = Announcement(["a"] * 3, ["b"], "some/folder", "some/models")
    loader = DataLoader([batch()] * 2, batch_size=None)
    with caplog.at_level(logging.INFO, logger="x2ct.training"):
        tiny_trainer(loader, [handler], epochs=2).run()
    said = caplog.text
    assert re.search(
        r"training x2ct_biplanar, 0\.2 M parameters, with a discriminator of 0\.0 M, on cpu: 3 cases, 1 for", said
    )
    assert "epochs 1 to 2 of 2 steps each; models are written to some/models, all else to some/folder" in said
    assert re.search(r"memory: a step needs about 0\.\d GiB", said)
    assert re.search(r"a step takes \d+\.\d s, an epoch 0:\d\d:\d\d, the run until about 20\d\d-", said)
    assert re.search(r"done in 0:\d\d:\d\d; \d+\.\d % of it was waiting for data", said)
