"""Tables, pictures and panels of translators."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from reports import StyleReport, TranslationPanels, style_table

ROW = {"direction": "to_drr", "method": "histogram", "kid": 0.0123, "kid_deviation": 0.002, "structure": 0.95}


def test_a_table_has_a_column_for_what_was_measured():
    lines = style_table([ROW, {"direction": "to_drr", "method": "same style", "kid": -0.001}])
    assert lines[0] == "| translator | KID x 1000 | ± x 1000 | structure |"
    assert lines[2] == "| histogram | 12.30 | 2.00 | 0.950 |"
    assert lines[3] == "| same style | -1.00 |  |  |"


def test_a_report_is_a_page_a_table_and_pictures_and_keeps_the_earlier_one(tmp_path):
    pictures = {"as it is": torch.zeros(3, 16, 16), "histogram": torch.rand(2, 16, 16)}
    back = {"direction": "to_real", "method": "none", "kid": 0.5}
    results = {"pa": SimpleNamespace(rows=[ROW, back], pictures={"to_drr": pictures, "to_real": pictures})}
    page = StyleReport(tmp_path, {"films": 8})(results)
    assert (tmp_path / "style.md").read_text() == page
    assert "- films: 8" in page
    assert page.count("| none |") == page.count("| histogram |") == 1
    with (tmp_path / "style.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["view"], row["method"], float(row["kid"])) for row in rows] == [
        ("pa", "histogram", 0.0123),
        ("pa", "none", 0.5),
    ]
    assert imread(tmp_path / "pa_to_drr.png").shape[0] > imread(tmp_path / "pa_to_drr.png").shape[1]
    StyleReport(tmp_path)(results)
    assert len(list(tmp_path.glob("style_*.md"))) == len(list(tmp_path.glob("pa_to_real_*.png"))) == 1


class Inverting(nn.Module):
    def translate(self, images):
        assert not self.training
        return 1 - images


@pytest.mark.parametrize("reverse", [None, Inverting()])
def test_panels_show_the_same_films_of_each_view(tmp_path, reverse):
    films = [{"image": torch.full((1, 16, 16), 0.1 * n), "view": ("pa", "lateral")[n % 2]} for n in range(6)]
    network = Inverting().train()
    panels = TranslationPanels(tmp_path, films, network, reverse)
    assert panels.views == ["pa", "pa", "lateral", "lateral"]
    last = {"drr": torch.zeros(1, 1, 16, 16), "fake_real": torch.ones(1, 1, 16, 16)}
    engine = Engine(lambda engine, batch: last)
    engine.state.device = torch.device("cpu")
    (tmp_path / "translations.png").write_bytes(b"earlier")
    panels.attach(engine)
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


def test_of_several_processes_one_draws(tmp_path):
    films = [{"image": torch.zeros(1, 16, 16), "view": "pa"}]
    engine = Engine(lambda engine, batch: None)
    TranslationPanels(tmp_path, films, Inverting(), write=False).attach(engine)
    engine.run([0], max_epochs=1)
    assert not list(tmp_path.iterdir())
