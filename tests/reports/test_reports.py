import json
import os

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from PIL import Image

from conventions import AXIS_DIRECTIONS_LPS, InputError
from reports import CaseFigures, LossCurves, draw_case, draw_radiographs
from reports.figures import PLANES, VIEW_LETTERS
from reports.summary import summary_table

EDGES = {(0, 0, -1): ("H", "F"), (0, 1, 0): ("A", "P"), (1, 0, 0): ("R", "L")}
"""Direction of an axis in LPS -> the letters at its start and end."""


def test_letters_follow_the_axes_of_the_volume():
    edges = [EDGES[tuple(int(v) for v in direction)] for direction in AXIS_DIRECTIONS_LPS]
    for axis, letters in PLANES.values():
        rows, columns = (edges[other] for other in range(3) if other != axis)
        assert letters == (*rows, *columns)
    assert VIEW_LETTERS["pa"] == (*edges[0], *edges[2])
    assert VIEW_LETTERS["lateral"] == (*edges[0], *edges[1])


@pytest.mark.parametrize("with_truth", [True, False])
def test_a_case_is_drawn(tmp_path, with_truth):
    volume = np.full((32, 32, 32), -1000.0)
    volume[8:24, 8:24, 8:24] = 1400
    path = draw_case(tmp_path / "case.png", np.zeros((2, 16, 16)), volume, volume if with_truth else None)
    pixels = np.asarray(Image.open(path).convert("L"))
    assert pixels.shape[0] > 800
    assert (pixels < 20).mean() > 0.1  # the air of the planes
    assert os.listdir(tmp_path) == ["case.png"]


def test_figures_and_radiographs_of_a_batch(tmp_path):
    image = torch.rand(2, 16, 16)
    item = {"case": "a"}
    output = {"image": image, "pred": torch.zeros(1, 16, 16, 16), "label": torch.zeros(1, 16, 16, 16)}

    def update(engine, _batch):
        engine.state.batch = [item]
        return [output]

    engine = Engine(update)
    CaseFigures(tmp_path / "cases", radiographs_dir=tmp_path / "radiographs").attach(engine)
    engine.run([0])
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png"))
    assert found == ["cases/a.png", "radiographs/a_lateral.png", "radiographs/a_pa.png"]
    back = np.asarray(Image.open(tmp_path / "radiographs" / "a_lateral.png")) / 65535
    np.testing.assert_allclose(back, image[1], atol=1e-5)


def test_loss_curves_keep_the_mean_of_each_epoch(tmp_path):
    engine = Engine(lambda _engine, batch: [{"loss": torch.tensor(float(batch))}])
    LossCurves(tmp_path, ["loss", "absent"]).attach(engine)
    engine.run([1, 3], max_epochs=2)
    assert (tmp_path / "losses.csv").read_text().splitlines() == ["epoch,loss,validation", "1,2.0,", "2,2.0,"]
    assert (tmp_path / "losses.png").stat().st_size > 1000


def test_the_summary_as_a_table(tmp_path):
    row = {"prediction": 21.5, "mean_volume": 18.0, "shuffled_input": 17.0}
    summary = {"psnr_db": row, "ssim": row, "mae_hu": row, "held_out_cases": ["a", "b"]}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    table = summary_table(tmp_path)
    assert "2 held-out cases" in table
    assert "gain over the mean volume: 3.50 dB" in table
    assert "authors" not in table  # an evaluation without the paper's measures
    paper = {"prediction": 26.5, "mean_volume": 23.0}
    summary |= {"paper_psnr_avg": paper, "paper_psnr_3d": paper, "paper_ssim_avg": paper}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    corrected, paper = summary_table(tmp_path).split("as the authors compute it: peak 4095, slice-wise; +4.29 dB")
    assert [line for line in table.splitlines() if "this network" in line] == [
        line for line in corrected.splitlines() if "this network" in line
    ]
    rows = [line.split() for line in paper.splitlines() if line.startswith("  ")]
    assert rows[0] == ["PSNR-avg", "dB", "PSNR-3D", "dB", "SSIM-avg"]
    assert [row[-3:] for row in rows[1:3]] == [["26.50", "26.50", "26.500"], ["23.00", "23.00", "23.000"]]
    assert "numbers " in paper
    with pytest.raises(InputError, match=r"holds no readable summary.json"):
        summary_table(tmp_path / "absent")
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(InputError, match="is not the summary"):
        summary_table(tmp_path)


def test_radiographs_are_drawn_with_their_letters(tmp_path):
    images = np.zeros((5, 16, 16))
    letters = [("H", "F", "R", "L")] * 5
    path = draw_radiographs(tmp_path / "check.png", images, list("abcde"), letters, "title")
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert (pixels.sum(axis=2) < 60).mean() > 0.3  # black images
    yellow = (pixels[..., 0] > 200) & (pixels[..., 1] > 200) & (pixels[..., 2] < 80)
    assert yellow.any()
    assert pixels.shape[0] > 700  # the fifth stands in a second row
    one = draw_radiographs(tmp_path / "one.png", images[:1], ["a"], letters[:1])
    assert Image.open(one).width < Image.open(path).width / 2
