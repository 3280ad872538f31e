import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from handlers import TranslationPanels
from tests.processes import in_processes


class Inverting(nn.Module):
    def translate(self, images):
        assert not self.training
        return 1 - images


def engine_of(panels):
    last = {"drr": torch.zeros(1, 1, 16, 16), "fake_real": torch.ones(1, 1, 16, 16)}
    engine = Engine(lambda engine, batch: last)
    engine.state.device = torch.device("cpu")
    panels.attach(engine)
    return engine


@pytest.mark.parametrize(
    "reverse", [pytest.param(None, id="one direction"), pytest.param(Inverting(), id="both directions")]
)
def test_panels_show_the_same_films_of_each_view(tmp_path, reverse):
    films = [{"image": torch.full((1, 16, 16), 0.1 * n), "view": ("pa", "lateral")[n % 2]} for n in range(6)]
    network = Inverting().train()
    panels = TranslationPanels(tmp_path, films, network, reverse)
    assert panels.views == ["pa", "pa", "lateral", "lateral"]
    (tmp_path / "translations.png").write_bytes(b"earlier")
    engine = engine_of(panels)
    engine.run([0], max_epochs=2)
    assert network.training
    assert len(list(tmp_path.glob("translations*.png"))) == 2
    picture = imread(tmp_path / "translations.png")[..., 0]
    assert picture.std() > 0.1
    axes = panels._figure(engine).axes
    shown = [np.asarray(a.images[0].get_array()) for a in axes if a.images]
    columns = 2 if reverse is None else 3
    assert len(shown) == 4 * columns + (0 if reverse is None else 2)
    np.testing.assert_allclose([s.mean() for s in shown[:2]], [0, 1], atol=1e-6)
    np.testing.assert_allclose([s.mean() for s in shown[columns : columns + 2]], [0.2, 0.8], atol=1e-6)
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0}).Reload()
    assert events.Tags()["images"] == ["translations"]


def test_the_first_of_several_processes_draws(tmp_path):
    films = [{"image": torch.zeros(1, 16, 16), "view": "pa"}]
    in_processes(lambda rank: engine_of(TranslationPanels(tmp_path / str(rank), films, Inverting())).run([0]))
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
