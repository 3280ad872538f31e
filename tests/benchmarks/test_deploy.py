import numpy as np
import pytest
import torch

from benchmarks.deploy import First, Row, run, table
from conventions import HU_WINDOW, InputError
from networks import build_network, make_record, write_record
from storage import write_tensors


def row(form, seconds, shift=0.0, reason=""):
    first = None if reason else First(np.full((1, 1, 2, 2, 2), 2 + shift, np.float32), 3.0, 2**20, 3 * 2**20)
    return Row(form, first, seconds, reason)


def cells(rows):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in list(table(rows))[2:]]


def test_ratios_are_formed_within_a_round():
    eager, onnx = cells([row("eager", [2.0, 4.0]), row("onnx", [1.0, 4.0], shift=0.02)])
    assert eager == ["eager", "3", "2-4", "1.00 [1.00-1.00]", "3.0", "1", "2", "0.0e+00"]
    assert onnx == ["onnx", "2.5", "1-4", "1.50 [1.00-2.00]", "3.0", "1", "2", "1.0e-02"]


def test_a_form_that_cannot_run_says_why():
    _, compiled = cells([row("eager", [2.0]), row("compiled", [], reason="no compiler")])
    assert compiled[:2] == ["compiled", "not run here: no compiler"]
    assert len(compiled) == 8


def test_an_unknown_form_is_refused(tmp_path):
    with pytest.raises(InputError, match="'tensorrt' is unknown: choose from eager, "):
        run(str(tmp_path / "model.pt"), forms="eager,tensorrt")


@pytest.mark.slow
def test_forms_run_and_agree(tmp_path):
    torch.manual_seed(0)
    network = build_network("replicate_unet", image_size=64, channels=[4, 8])
    write_tensors(tmp_path / "model.pt", network.state_dict())
    write_record(tmp_path / "model.pt", make_record(network, hu_window=HU_WINDOW))
    page = tmp_path / "page.md"
    run(str(tmp_path / "model.pt"), str(page), rounds=1, forms="eager,torchscript,onnx,pt2")
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")][1:]
    assert [line.split("|")[1].strip() for line in lines] == ["eager", "torchscript", "onnx", "pt2"]
    assert all(float(line.split("|")[-2]) < 1e-4 for line in lines)
    assert "Load before the forms were made" in page.read_text()
