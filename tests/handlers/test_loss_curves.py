import numpy as np
import torch
from ignite.engine import Engine
from PIL import Image

from handlers import LossCurves
from tests.processes import in_processes


def train(folder, epochs=2, state=None):
    engine = Engine(lambda _engine, batch: [{"loss": torch.tensor(float(batch))}])
    curves = LossCurves(folder, ["loss", "absent"])
    if state is not None:
        curves.load_state_dict(state)
        engine.load_state_dict({"epoch": 2, "epoch_length": 2, "max_epochs": epochs})
    curves.attach(engine)
    engine.run([1, 3], max_epochs=epochs)
    return curves


def test_they_keep_the_mean_of_each_epoch(tmp_path):
    train(tmp_path)
    assert (tmp_path / "losses.csv").read_text().splitlines() == ["epoch,loss,validation", "1,2.0,", "2,2.0,"]
    pixels = np.asarray(Image.open(tmp_path / "losses.png").convert("RGB")).astype(int)
    blue = np.abs(pixels - (31, 119, 180)).max(-1) < 40
    assert blue.any(0).sum() > 300  # the curve runs through half of the picture


def test_a_resumed_run_continues_them_and_a_new_one_keeps_the_old_ones(tmp_path):
    state = train(tmp_path).state_dict()
    train(tmp_path, epochs=3, state=state)
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 4
    train(tmp_path)
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 3
    assert len(list(tmp_path.glob("losses_*.csv"))) == len(list(tmp_path.glob("losses_*.png"))) == 1


def test_the_first_of_several_processes_writes_them(tmp_path):
    in_processes(lambda rank: train(tmp_path / str(rank)))
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
