import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import networks
from benchmarks.network_worker import Case, Counts, First
from benchmarks.networks import Row, measure, run, table
from conventions import InputError

CASE = Case("cpu", "patchgan_3d", 32, "forward", 1)


def row(label, seconds, peak, shift=0.0, norm=0.0):
    first = First(np.full((1, 1, 2, 2, 2), shift, np.float32), norm, before=2**20, peak=2**20 + peak)
    return Row(label, first, Counts(1000, 3_000_000_000), seconds)


def cells(rows, case=CASE):
    lines = [line for line in table([(case, rows)]) if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_ratios_are_formed_within_a_round():
    ours, theirs = cells([row("ours", [1.0, 2.0, 4.0], 2**21), row("authors", [3.0, 4.0, 4.0], 2**22)])
    assert ours == ["forward", "1", "ours", "3.0", "2", "1-4", "", "1", "2", "", ""]
    assert theirs == ["forward", "1", "authors", "3.0", "4", "3-4", "2.00 [1.00-3.00]", "1", "4", "2.00", "0.0e+00"]


@pytest.mark.parametrize("shift", [pytest.param(0.006, id="too far"), pytest.param(np.nan, id="nan")])
def test_outputs_that_differ_are_not_compared(shift):
    _, theirs = cells([row("ours", [1.0], 1), row("authors", [3.0], 1, shift)])
    assert theirs[6] == theirs[9] == ""
    assert theirs[10].endswith("not comparable")


def test_gradients_are_compared_by_their_norm():
    _, theirs = cells([row("ours", [1.0], 1, norm=1.01), row("authors", [3.0], 1, norm=1.0)])
    assert theirs[10] == "0.0e+00; 1 %"


def test_a_side_that_cannot_run_says_why():
    ours, theirs = cells([row("ours", [1.0], 1), Row("authors", counts=Counts(1, 2), reason="no memory")])
    assert len(ours) == len(theirs) == 11
    assert theirs[4] == "not run here: no memory"


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not a checkout of the authors' code .*; clone https"):
        run(official=str(tmp_path))


def test_unknown_names_and_devices_are_refused(stand_in):
    with pytest.raises(InputError, match="'cnn2d' is unknown: choose from x2ct_biplanar, "):
        run(official=str(stand_in), networks="patchgan_3d,cnn2d")
    with pytest.raises(InputError, match="device 'tpu' is not available; give cpu"):
        run(official=str(stand_in), device="tpu")


STAND_IN = """
from torch import nn


def define_D(input_nc, ndf, which_model_netD, norm):
    print("a word on stdout")
    layers, widths = [], [input_nc, ndf, 2 * ndf, 4 * ndf, 8 * ndf]
    for i in range(4):
        stride = 1 if i == 3 else 2
        layers.append(nn.Conv3d(widths[i], widths[i + 1], 4, stride, 2, bias=i == 0))
        layers += [nn.InstanceNorm3d(widths[i + 1], track_running_stats=True)] * (i > 0)
        layers.append(nn.LeakyReLU(0.2))
    network = Listed()
    network.model = nn.Sequential(*layers, nn.Conv3d(widths[-1], 1, 4, 1, 2))
    return network


class Listed(nn.Module):
    def forward(self, x):
        return [self.model(x)]
"""
"""The 3-D PatchGAN with the authors' names, so that the tests need no checkout."""


@pytest.fixture
def stand_in(tmp_path):
    folder = tmp_path / "3DGAN" / "lib" / "model" / "nets"
    folder.mkdir(parents=True)
    (folder / "factory.py").write_text(STAND_IN)
    return tmp_path


@pytest.mark.slow
def test_both_sides_run_and_agree(stand_in, tmp_path, capfd):
    page = tmp_path / "page.md"
    run(str(stand_in), str(page), rounds=1, sizes=32, batches=1, networks="patchgan_3d", modes="gradient")
    (line,) = [line for line in page.read_text().splitlines() if "| authors |" in line]
    assert re.search(r"\| \d\.\d\d \[\d\.\d\d-\d\.\d\d\] \|.*\| \d\.\de[+-]\d\d; \S+ % \|$", line)
    assert "a word on stdout" not in capfd.readouterr().out


def test_a_call_that_memory_cannot_hold_is_not_tried(monkeypatch):
    asked = []

    class Fake:
        def load(self, make, case, official):
            self.label = "authors" if official else "ours"

        def ask(self, method):
            asked.append((self.label, method))
            return {"counts": Counts(1, 2), "first": row("", [], 1).first, "turn": 1.5}[method]

        def stop(self):
            pass

    monkeypatch.setattr(networks, "Side", Fake)
    monkeypatch.setattr(networks, "available_bytes", lambda: 4 * 2**30)
    ours, theirs = measure(CASE, Path("checkout"), rounds=2, needed=[1.9 * 2**30, 2.1 * 2**30])
    assert theirs.reason == "judging by batch 1 it needs about 2.1 GiB, and 2.0 GiB are free"
    assert ours.seconds == [1.5, 1.5]
    assert ("authors", "counts") in asked
    assert ("authors", "first") not in asked
