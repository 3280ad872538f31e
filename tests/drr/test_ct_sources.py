"""DRRs of the same chest from every kind of source: what once was silently wrong in a film is right or refused."""

import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from drr.__main__ import render
from tests.readers.ct.ct_files import (
    FIRST,
    LPS_TO_RAS,
    SLICES,
    STEP,
    axial_affine,
    chest,
    even_positions,
    volume,
    write_enhanced,
    write_nifti,
    write_series,
)
from tests.readers.radiographs.film_files import compress


def films(source, output):
    """PA and lateral of a source by the command, and the decisions about it."""
    render(str(source), str(output), detector_shape=64, spacing=8)
    images = [nibabel.load(output / f"{name}.nii.gz").get_fdata()[..., 0].T for name in ("pa", "lateral")]
    return np.stack(images), json.loads((output / "pa.json").read_text())["ct_decisions"]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    images, decisions = films(write_nifti(folder / "ct.nii.gz"), folder / "out")
    assert decisions == []
    assert images.std() > 0.1
    assert np.abs(images - images[:, ::-1]).mean() > 0.005  # upside down it is another film
    return images


def negative(folder):
    return write_series(folder / "ct", change=lambda dataset, _: setattr(dataset, "SpacingBetweenSlices", -STEP))


def shuffled(folder):
    return write_enhanced(folder / "ct.dcm", even_positions()[np.random.default_rng(1).permutation(SLICES)])


def microns(folder):
    return write_nifti(folder / "ct.nii", affine=np.diag([1e3, 1e3, 1e3, 1]) @ axial_affine(), unit="micron")


def offset(folder):
    return write_nifti(folder / "ct.nii", volume() + 1024)


def by_one_file(folder):
    return next(write_series(folder / "ct").iterdir())


def compressed(folder):
    return compress(write_enhanced(folder / "ct.dcm"), "JPEGLSLossless")


@pytest.mark.parametrize("source", [negative, shuffled, microns, offset, by_one_file, compressed])
def test_the_same_film(tmp_path, reference, source):
    images, decisions = films(source(tmp_path), tmp_path / "out")
    np.testing.assert_allclose(images, reference, atol=2e-4)
    assert decisions or source is not offset


@pytest.mark.parametrize("degrees", [-15, 10])
def test_a_tilted_gantry(tmp_path, degrees):
    """The film is that of an upright volume of the same part of the chest."""
    lean = np.radians(degrees)
    axes = np.array([[1, 0, 0], [0, np.cos(lean), np.sin(lean)]])
    positions = FIRST + np.outer(np.arange(SLICES) * STEP, [0, 0, 1.0])
    images, decisions = films(write_series(tmp_path / "ct", positions, axes=axes), tmp_path / "out")
    tilt = next(decision["text"] for decision in decisions if decision["subject"] == "tilt")
    assert tilt.startswith(f"the axes lean by {abs(degrees)}.0 degrees")

    steps, counts = np.stack([8 * axes[0], 8 * axes[1], [0, 0, STEP]], 1), np.array([55, 40, SLICES])
    centre = FIRST + steps @ (counts - 1) / 2
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = centre - 2 * (np.array([120, 100, 120]) - 1)
    index = np.stack(np.meshgrid(*map(np.arange, (120, 100, 120)), indexing="ij"), -1)
    points = index * 4 + affine[:3, 3]
    scanned = np.linalg.solve(steps, (points - FIRST)[..., None])[..., 0]
    inside = ((scanned > -0.5) & (scanned < counts - 0.5)).all(-1)
    upright = write_nifti(tmp_path / "ct.nii.gz", np.where(inside, chest(points), -1000), LPS_TO_RAS @ affine)
    expected, _ = films(upright, tmp_path / "upright")
    assert np.abs(images - expected).mean() < 0.02 * expected.max()
    assert np.corrcoef(images.ravel(), expected.ravel())[0, 1] > 0.995


def test_zero_outside_the_field_is_air(tmp_path, reference):
    x, y = np.mgrid[:55, :40]
    outside = np.hypot((x - 27) / 27, (y - 19.5) / 19.5) > 1
    hu = volume()
    hu[outside] = 0
    images, decisions = films(write_nifti(tmp_path / "ct.nii.gz", hu), tmp_path / "out")
    assert [d["kind"] for d in decisions if d["subject"] == "field"] == ["doubt"]
    assert np.abs(images - reference).mean() < 2e-3


def test_a_refusal_is_one_sentence(tmp_path, root):
    def change(dataset, _):
        del dataset.ImagePositionPatient

    folder = write_series(tmp_path / "ct", change=change)
    command = [sys.executable, "-m", "drr", str(folder), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"{folder}: 31 of 31 images state no position" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "pa.png").exists()
