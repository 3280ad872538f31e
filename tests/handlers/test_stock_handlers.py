"""MONAI's and ignite's own handlers and losses, as they come, with our trainer and evaluator."""

import logging

import pytest
import torch
from monai.handlers import (
    EarlyStopHandler,
    MeanAbsoluteError,
    MetricLogger,
    StatsHandler,
    TensorBoardStatsHandler,
    ValidationHandler,
    from_engine,
)
from monai.losses import SSIMLoss
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from engines import X2CTEvaluator, X2CTTrainer
from losses import WeightedLosses


class Mean(nn.Module):
    """A generator of one number a case."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.1))

    def forward(self, image, geometry=None):
        return self.weight.expand(image.shape[0], 1, 16, 16, 16)


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.rand(2, 2, 16, 16, generator=generator),
            "label": torch.full((2, 1, 16, 16, 16), 0.5),
            "geometry": torch.zeros(2, 2, 4, 3),
        }
        for _ in range(2)
    ]


def make_trainer(network, batches, handlers, losses=None, epochs=3, rate=0.1):
    return X2CTTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=batches,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), rate),
        loss_function=WeightedLosses(losses or {"reconstruction": {"loss": nn.MSELoss(), "weight": 1.0}}),
        train_handlers=handlers,
    )


def make_evaluator(network, batches, handlers=()):
    metric = MeanAbsoluteError(output_transform=from_engine(["pred", "label"]))
    return X2CTEvaluator("cpu", batches, network, key_val_metric={"mae": metric}, val_handlers=list(handlers))


def test_losses_are_printed_logged_and_drawn(batches, tmp_path, caplog):
    terms = ["loss", "reconstruction"]
    logger = MetricLogger(loss_transform=from_engine(["loss"], first=True))
    handlers = [
        StatsHandler(tag_name="loss", output_transform=from_engine(["loss"], first=True), name="stats"),
        TensorBoardStatsHandler(log_dir=str(tmp_path), tag_name="loss", output_transform=lambda out: {
            term: float(out[0][term]) for term in terms
        }),
        logger,
    ]  # fmt: skip
    logging.getLogger("stats").addHandler(caplog.handler)
    make_trainer(Mean(), batches, handlers).run()
    assert "Epoch: 3/3, Iter: 2/2 -- loss: " in caplog.text
    assert len(logger.loss) == 6
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(terms) <= {tag.split("/")[-1] for tag in events.Tags()["scalars"]}


def test_a_run_stops_early_when_validation_no_longer_gains(batches):
    network = Mean()
    evaluator = make_evaluator(network, batches)
    trainer = make_trainer(network, batches, [ValidationHandler(1, evaluator)], epochs=50, rate=0.0)
    EarlyStopHandler(2, lambda engine: -engine.state.metrics["mae"], trainer).attach(evaluator)
    trainer.run()
    assert trainer.state.epoch == 3  # the first sets the mark, two more do not beat it


@pytest.mark.parametrize("loss", [SSIMLoss(spatial_dims=3, data_range=1.0), nn.L1Loss(), nn.SmoothL1Loss()])
def test_any_loss_of_two_volumes_is_a_term_by_config(batches, loss):
    network = Mean()
    terms = {"reconstruction": {"loss": nn.MSELoss(), "weight": 1.0}, "extra": {"loss": loss, "weight": 0.5}}
    trainer = make_trainer(network, batches, [], terms)
    trainer.run()
    output = trainer.state.output[0]
    assert float(output["loss"]) == pytest.approx(float(output["reconstruction"]) + float(output["extra"]), rel=1e-6)
    assert 0.1 < float(network.weight) < 0.6
