import json

import pytest
import torch
from torch import nn

from conventions import InputError, expand_views
from drr import Acquisition
from engines import X2CTEvaluator
from handlers import EvaluationSummary
from metrics import paper_volume_metrics, volume_metrics
from reports.summary import comparison_table, summary_table
from transforms import UnitToHUd


def write(folder, **summary):
    (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture
def summary():
    return {
        "psnr_db": {"prediction": 21.5, "mean_volume": 18.0, "shuffled_input": 17.0},
        "ssim": {"prediction": 0.5804, "mean_volume": 0.472, "shuffled_input": 0.334},
        "mae_hu": {"prediction": 129.74, "mean_volume": 185.2, "shuffled_input": 238.3},
        "held_out_cases": ["a", "b"],
    }


TABLE = """\
2 held-out cases, averages (PSNR peak is the width of the HU window, SSIM in 3-D):

                                              PSNR dB         SSIM       MAE HU
  this network                                  21.50        0.580        129.7
  mean training volume                          18.00        0.472        185.2
  network, another case's radiographs           17.00        0.334        238.3
"""


def test_an_evaluation_is_a_table(tmp_path, summary):
    write(tmp_path, **summary)
    table = summary_table(tmp_path)
    assert table.startswith(TABLE)
    assert "gain over the mean volume: 3.50 dB" in table
    assert "authors" not in table  # an evaluation without the paper's measures


def test_the_papers_measures_are_a_table_of_their_own(tmp_path, summary):
    write(tmp_path, **summary)
    corrected_alone = summary_table(tmp_path)
    paper = {"prediction": 26.5, "mean_volume": 23.0}
    write(tmp_path, **summary, paper_psnr_avg=paper, paper_psnr_3d=paper, paper_ssim_avg=paper)
    corrected, paper = summary_table(tmp_path).split("as the authors compute it (peak 4095, slice-wise; +4.29 dB)")
    assert corrected.strip() in corrected_alone
    assert "PSNR-avg dB" in paper
    lines = [line.split() for line in paper.splitlines() if line.startswith("  ")]
    assert lines[0] == ["PSNR-avg", "dB", "PSNR-3D", "dB", "SSIM-avg"]
    assert [line[-3:] for line in lines[1:3]] == [["26.50", "26.50", "26.500"], ["23.00", "23.00", "23.000"]]
    assert f"numbers   {tmp_path / 'summary.json'}" in paper


def test_files_are_named_where_they_are(tmp_path, summary):
    write(tmp_path, **summary)
    (tmp_path / "losses.png").touch()
    (tmp_path / "cases").mkdir()
    numbers, *pictures = summary_table(tmp_path).splitlines()[-3:]
    assert numbers == f"numbers   {tmp_path / 'summary.json'} (the averages)"
    assert pictures == [
        f"pictures  {tmp_path / 'cases'} (one per case)",
        f"          {tmp_path / 'losses.png'} (training)",
    ]


def test_an_evaluation_by_other_measures_has_a_table_too(tmp_path, summary):
    del summary["psnr_db"], summary["mae_hu"]
    write(tmp_path, **summary)
    lines = summary_table(tmp_path).splitlines()
    assert [line.split()[-1] for line in lines[2:6]] == ["SSIM", "0.580", "0.472", "0.334"]
    with pytest.raises(InputError, match="lacks one of psnr_db, ssim, mae_hu"):
        comparison_table([tmp_path, tmp_path])


def test_what_is_no_summary_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no readable summary.json"):
        summary_table(tmp_path / "absent")
    (tmp_path / "summary.json").write_text("[]")
    with pytest.raises(InputError, match="is not the summary"):
        summary_table(tmp_path)


class FirstView(nn.Module):
    """Predicts the first radiograph, repeated along its rays."""

    def forward(self, image, geometry=None):
        return expand_views(image, image.shape[-1])[:, :1]


@pytest.mark.parametrize("mean_volume", [pytest.param(None, id="no mean"), pytest.param(0.5, id="a mean")])
def test_an_evaluation_without_a_mean_volume_has_all_other_rows(tmp_path, mean_volume):
    torch.manual_seed(0)
    geometry = Acquisition(detector_shape=8).geometry_tensor()[None]
    batches = [
        {
            "image": torch.rand(1, 2, 8, 8),
            "other_image": torch.rand(1, 2, 8, 8),
            "geometry": geometry,
            "other_geometry": geometry,
            "label": torch.rand(1, 1, 8, 8, 8),
            "case": [f"case_{number}"],
        }
        for number in range(2)
    ]
    measured = ["pred", "mean_volume", "shuffled_input"]
    X2CTEvaluator(
        "cpu",
        batches,
        FirstView(),
        mean_volume=None if mean_volume is None else torch.full((1, 8, 8, 8), mean_volume),
        postprocessing=UnitToHUd([*measured, "label"], allow_missing_keys=True),
        key_val_metric=volume_metrics(measured),
        additional_metrics=paper_volume_metrics(measured),
        val_handlers=[EvaluationSummary(tmp_path)],
    ).run()
    summary = json.loads((tmp_path / "summary.json").read_text())
    expected = {"prediction", "shuffled_input"} | (set() if mean_volume is None else {"mean_volume"})
    measures = set(summary) - {"held_out_cases", "model", "intervals"}
    assert len(measures) > 10
    assert all(set(summary[measure]) == expected for measure in measures)
    table = summary_table(tmp_path)
    assert table.count("this network") == table.count("network, another case's radiographs") == 2
    assert table.count("mean training volume") == (0 if mean_volume is None else 2)
    assert ("gain over the mean volume" in table) is (mean_volume is not None)
    assert "nan" not in table
    header = (tmp_path / "cases.csv").read_text().splitlines()[0]
    assert "mae_hu/shuffled_input" in header
    assert ("mae_hu/mean_volume" in header) is (mean_volume is not None)


COMPARED = """\
2 held-out cases, averages (PSNR peak is the width of the HU window, SSIM in 3-D):

                                              PSNR dB         SSIM       MAE HU
  x2ct_gan                                      20.50        0.500        150.0
  x2ct_gan, made to agree with its films        21.50        0.580        129.7
  raylift                                       21.50        0.580        129.7
  mean training volume                          18.00        0.472        185.2"""


def test_several_evaluations_are_one_table_as_in_the_readme(tmp_path, summary, root):
    first, second = tmp_path / "x2ct_gan", tmp_path / "raylift"
    for folder in (first, second):
        folder.mkdir()
    write(second, **summary)
    for measure, value in (("psnr_db", 20.5), ("ssim", 0.5), ("mae_hu", 150.0)):
        summary[measure]["without_update"] = value
    write(first, **summary)
    assert comparison_table([first, second]) == COMPARED
    readme = (root / "README.md").read_text().splitlines()
    start = next(i for i, line in enumerate(readme) if "held-out cases" in line)
    assert readme[start + 2] == COMPARED.splitlines()[2]
    titles = [f"{name}{how}" for name in ("x2ct_gan", "raylift") for how in ("", ", made to agree with its films")]
    assert [line[:40].strip() for line in readme[start + 3 : start + 8]] == [*titles, "mean training volume"]
    write(second, **{**summary, "held_out_cases": ["c"]})
    with pytest.raises(InputError, match="was evaluated on other cases"):
        comparison_table([first, second])
