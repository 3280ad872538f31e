"""The memory of one process that prepares the largest usual scan, 512 x 512 x 900 voxels."""

import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from tests import chest_model
from tests.cohort.prepare.cohort_files import ROOT
from tests.readers.ct.ct_files import INTERCEPT, even_positions, write_series

LIMIT_MIB = 1536
"""The whole process, of which Python and its packages take about 600 MiB before a CT is read."""

SHAPE = np.array([512, 512, 900])
SPACING = np.array([0.7, 0.7, 0.4])
BLOCK = (4, 4, 10)
"""Voxels of one value along each axis, so that the scan is made and packed in seconds."""

FIRST = -(SHAPE - 1) / 2 * SPACING

RUN = """
import runpy
import sys
from pathlib import Path
sys.argv = ["cohort", "prepare", *sys.argv[1:]]
runpy.run_module("cohort", run_name="__main__")
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""
"""The command, its page included, and the peak of the resident set in KiB; `ru_maxrss` would count the process that
started this one."""


def blocks():
    """HU of the chest, one for each block of voxels, (X, Y, Z)."""
    count = SHAPE // BLOCK
    index = np.stack(np.meshgrid(*map(np.arange, count), indexing="ij"), -1)
    points = FIRST + (index * BLOCK + (np.array(BLOCK) - 1) / 2) * SPACING
    return np.rint(chest_model.plain(points)).astype(np.int16)


def in_voxels(values):
    for axis in range(values.ndim):
        values = values.repeat(BLOCK[axis], axis)
    return values


def write_dicom(folder):
    stored = [in_voxels(plane).T - INTERCEPT for plane in np.moveaxis(blocks(), -1, 0)]

    def change(dataset, number):
        dataset.PixelData = stored[number // BLOCK[2]].astype("<u2").tobytes()

    write_series(folder, even_positions(SHAPE[2], SPACING[2], FIRST), hu=stored[0], spacing=SPACING[:2], change=change)


def write_nifti(folder):
    affine = np.diag([-1.0, -1, 1, 1]) @ np.block([[np.diag(SPACING), FIRST[:, None]], [np.zeros(3), 1]])
    image = nibabel.Nifti1Image(in_voxels(blocks()), affine)
    image.header.set_xyzt_units("mm")
    folder.mkdir()
    nibabel.save(image, folder / "ct.nii.gz")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("write", [write_dicom, write_nifti])
def test_a_process_stays_below_one_and_a_half_gib(write, tmp_path):
    write(tmp_path / "in")
    words = [sys.executable, "-c", RUN, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (case,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["cases"]
    assert case["lung_litres"] == pytest.approx(chest_model.LUNGS_ML / 1000, rel=0.04)
    assert (tmp_path / "out" / "report.html").is_file()
    assert int(done.stdout.split()[-2]) / 1024 < LIMIT_MIB
