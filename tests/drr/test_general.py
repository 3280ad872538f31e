import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from drr import ConeBeam, VolumeGrid, back_project, general

GRID = VolumeGrid((10, 12, 14), 24.0)
VIEWS = [ConeBeam.oblique(angle=25, tilt=12, sdd=1800, sod=1500, detector_shape=(16, 16))]


@pytest.fixture
def forgetful():
    """The choice of a compiler is made once a process; make it again, and again afterwards."""
    yield general._finds_compiler.cache_clear()
    general._finds_compiler.cache_clear()
    general._given_up.clear()


def said(caplog):
    return [record.message for record in caplog.records if record.name == "x2ct.drr"]


def test_without_a_compiler_plain_operations_give_the_same_and_it_is_said_once(forgetful, caplog):
    image = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    expected = back_project(image, GRID, VIEWS, "reference")
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        caplog.at_level(logging.INFO, logger="x2ct.drr"),
    ):
        torch.testing.assert_close(back_project(image, GRID, VIEWS), expected)
        back_project(image, GRID, VIEWS)
    assert said(caplog) == ["cpu: general views are back-projected by plain tensor operations (slower)"]


def test_a_compiler_that_fails_is_said_and_done_without(forgetful, caplog, monkeypatch):
    def broken(*arguments):
        raise torch._dynamo.exc.BackendCompilerFailed("inductor", RuntimeError("no room"), None)

    monkeypatch.setattr(general, "_compiled", lambda *arguments: broken)
    image = torch.rand(1, 1, 16, 16, dtype=torch.float64)
    with caplog.at_level(logging.WARNING, logger="x2ct.drr"):
        for _ in range(2):
            torch.testing.assert_close(
                back_project(image, GRID, VIEWS), back_project(image, GRID, VIEWS, "reference"), rtol=1e-11, atol=1e-11
            )
    assert len(said(caplog)) == 1
    assert "compiling for cpu failed" in said(caplog)[0]
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed):
        back_project(image, GRID, VIEWS, "compiled")


WITH_ANOTHER_CACHE = """
import torch
from drr import ConeBeam, VolumeGrid, back_project

grid = VolumeGrid(24, 10.0)
views = [ConeBeam.oblique(angle=25, tilt=12, sdd=1800, sod=1500, detector_shape=(24, 24))]
image = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
both = [back_project(image, grid, views, backend) for backend in ("compiled", "eager")]
print(float((both[0] - both[1]).abs().max() / both[1].abs().max()))
"""


@pytest.mark.slow
def test_processors_that_share_a_folder_of_compiled_kernels_do_not_share_the_kernels(tmp_path):
    """PyTorch's own key does not name the processor: one with AVX2 alone would run a kernel for AVX-512."""
    for capability in ("avx512", "avx2"):
        environment = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "ATEN_CPU_CAPABILITY": capability}
        command = [sys.executable, "-c", WITH_ANOTHER_CACHE]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
        assert float(done.stdout) < 1e-5


@pytest.mark.parametrize("pixels", [pytest.param((5, 60), id="wide"), pytest.param((60, 5), id="high")])
def test_the_rectangle_of_a_voxel_holds_every_pixel_it_touches(pixels):
    """A near source, coarse voxels and fine pixels: many pixels a voxel, of very different depth."""
    grid = VolumeGrid((4, 3, 5), (60.0, 80.0, 50.0))
    view = ConeBeam.oblique(angle=35, tilt=25, sdd=700, sod=400, detector_size=500, detector_shape=pixels)
    image = torch.rand(1, 1, *pixels, dtype=torch.float64)
    expected = back_project(image, grid, [view], "reference")
    torch.testing.assert_close(back_project(image, grid, [view], "eager"), expected, rtol=1e-11, atol=1e-11)


def test_a_volume_that_nearly_reaches_the_source_is_gathered_whole():
    """Beyond the corner voxels the depth changes sign, so nothing bounds a voxel's rectangle but the detector."""
    grid = VolumeGrid((3, 3, 23), 5.0)
    view = ConeBeam(
        source=(31.454691168930236, 32.912206511093004, 0),
        detector_centre=(-52.01703908953668, -54.42740428583049, 0),
        column_step=(13.7, -13.1, 0),
        row_step=(0, 0, -34.0),
        detector_shape=(6, 11),
    )
    image = torch.rand(1, 1, 6, 11, dtype=torch.float64)
    expected = back_project(image, grid, [view], "reference")
    torch.testing.assert_close(back_project(image, grid, [view], "eager"), expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("seed", range(12))
def test_near_oblique_views_of_thin_volumes(seed):
    random = np.random.default_rng(seed)
    grid = VolumeGrid(random.integers(2, 24, 3), random.uniform(4, 12, 3))
    shape = tuple(random.integers(2, 16, 2))
    radius = np.linalg.norm(grid.size) / 2
    view = ConeBeam.oblique(
        angle=random.uniform(-180, 180),
        tilt=random.uniform(-30, 30),
        sod=radius * random.uniform(1.05, 1.6),
        sdd=radius * random.uniform(2.5, 3.5),
        detector_size=radius * random.uniform(0.5, 1.5),
        detector_shape=shape,
    )
    image = torch.rand(1, 1, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = back_project(image, grid, [view], "reference")
    torch.testing.assert_close(back_project(image, grid, [view], "eager"), expected, rtol=1e-10, atol=1e-10)
