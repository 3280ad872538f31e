"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from tests.oracle import MISSING, ORACLE

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and a CUDA device where there is one."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    return torch.device(request.param)


@pytest.fixture(scope="session")
def oracle() -> Path:
    """Folder of numbers that the authors' code computed, described in tests/oracle.py."""
    if not ORACLE.is_dir():
        pytest.skip(MISSING)
    return ORACLE


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CTs, named by the environment variable X2CT_DATA."""
    folder = os.environ.get("X2CT_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real data on this machine: set X2CT_DATA")
    return Path(folder)


@pytest.fixture
def write_ct(tmp_path: Path) -> Callable[..., Path]:
    """Write an array (X, Y, Z) in HU as NIfTI with an affine, and return its path."""

    def write(
        volume_hu: np.ndarray, affine: np.ndarray | None = None, name: str = "ct.nii.gz", code: str = "scanner"
    ) -> Path:
        affine = np.diag([2.5, 2.5, 2.5, 1.0]) if affine is None else affine
        image = nibabel.Nifti1Image(volume_hu, affine)
        image.set_sform(affine, code=code)
        image.set_qform(affine, code=code)
        nibabel.save(image, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture
def asymmetric_thorax() -> np.ndarray:
    """A crude chest of 60 x 60 x 60 voxels in RAS axes with one mark at the left, the front and the head (HU)."""
    volume = np.full((60, 60, 60), -1000.0, dtype=np.float32)
    volume[8:52, 14:46, :] = 40
    volume[14:28, 20:40, 10:50] = -800  # a lung on each side
    volume[34:46, 20:40, 10:50] = -800
    volume[10:16, 38:44, 48:54] = 900  # RAS: low x = patient left, high y = front, high z = head
    return volume
