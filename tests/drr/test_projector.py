"""The projector against its definition, the orientation readings of the authors' tool, and closed forms."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from conventions import InputError
from drr import BACKENDS, ConeBeam, VolumeGrid, back_project, geometry_tensor, preset, project

FLOAT32_TOLERANCE = 1e-6
"""Relative RMSE of float32 against the float64 definition."""

OBLIQUE_FLOAT32_TOLERANCE = 2e-6
"""The same for a view turned by 25 degrees and tilted by 12."""


def joseph_by_definition(mu: np.ndarray, spacing: np.ndarray, view: ConeBeam) -> np.ndarray:
    """Joseph's sum, voxel by voxel, in float64: mu (D, H, W), spacing along the same axes in mm."""

    def to_dhw(lps):
        return np.array([-lps[2], lps[1], lps[0]], dtype=float)

    source, centre = to_dhw(view.source), to_dhw(view.detector_centre)
    column, row = to_dhw(view.column_step), to_dhw(view.row_step)
    count = np.array(mu.shape)
    along = int(np.argmax(np.abs(centre - source) / spacing))
    u, v = (axis for axis in range(3) if axis != along)
    rows, columns = view.detector_shape
    image = np.zeros((rows, columns))
    for r in range(rows):
        for c in range(columns):
            pixel = centre + (r - (rows - 1) / 2) * row + (c - (columns - 1) / 2) * column
            direction = pixel - source
            total = 0.0
            for k in range(count[along]):
                t = ((k - (count[along] - 1) / 2) * spacing[along] - source[along]) / direction[along]
                index = (source + t * direction) / spacing + (count - 1) / 2
                i, j = int(np.floor(index[u])), int(np.floor(index[v]))
                for du in (0, 1):
                    for dv in (0, 1):
                        if 0 <= i + du < count[u] and 0 <= j + dv < count[v]:
                            weight = (1 - abs(index[u] - i - du)) * (1 - abs(index[v] - j - dv))
                            voxel = [0, 0, 0]
                            voxel[along], voxel[u], voxel[v] = k, i + du, j + dv
                            total += weight * mu[tuple(voxel)]
            image[r, c] = total * spacing[along] * np.linalg.norm(direction) / abs(direction[along])
    return image


def oblique(detector_shape):
    """A view turned by about 25 degrees and tilted by about 12."""
    beam = np.array([0.41, -0.88, 0.21])
    beam /= np.linalg.norm(beam)
    column = np.cross([0, 0, 1.0], -beam)
    column /= np.linalg.norm(column)
    row = np.cross(column, -beam) * -1
    return ConeBeam(
        source=tuple(-900 * beam),
        detector_centre=tuple(300 * beam),
        column_step=tuple(9 * column),
        row_step=tuple(9 * row),
        detector_shape=detector_shape,
    )


VIEWS = [*preset("x2ct", (9, 11)), *preset("chest", (9, 11)), oblique((9, 11))]


IDS = ["x2ct-pa", "x2ct-lateral", "chest-pa", "chest-lateral", "oblique"]


@pytest.mark.parametrize(
    ("view", "backend"),
    [(view, backend) for view in VIEWS for backend in BACKENDS if backend != "compiled" or view is VIEWS[-1]],
    ids=[f"{name}-{backend}" for name in IDS for backend in BACKENDS if backend != "compiled" or name == "oblique"],
)
def test_against_the_definition(view, backend, device):
    rng = np.random.default_rng(0)
    mu = rng.uniform(0, 0.05, (14, 12, 16))
    grid = VolumeGrid(mu.shape, (16.0, 20.0, 14.0))
    expected = joseph_by_definition(mu, np.array(grid.spacing), view)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, FLOAT32_TOLERANCE)):
        volume = torch.tensor(mu, dtype=dtype, device=device)[None, None]
        image = project(volume, grid, [view], backend)[0, 0].double().cpu().numpy()
        assert np.sqrt(np.mean((image - expected) ** 2)) <= tolerance * np.sqrt(np.mean(expected**2))


@pytest.mark.parametrize("size", [128, pytest.param(256, marks=pytest.mark.slow)])
def test_float32_against_float64_at_full_size(size):
    mu = torch.rand(1, 1, size, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.05
    grid = VolumeGrid((size, size, size), 320 / size)
    numbers = {"sdd": 1800, "sod": 1500, "detector_size": 435.2, "detector_shape": (size, size)}
    views = [ConeBeam.pa(**numbers), ConeBeam.lateral(detector_side="left", **numbers)]
    views.append(ConeBeam.oblique(angle=25, tilt=12, **numbers))
    for view, tolerance in zip(views, (FLOAT32_TOLERANCE, FLOAT32_TOLERANCE, OBLIQUE_FLOAT32_TOLERANCE), strict=True):
        exact = project(mu, grid, [view], "reference")
        single = project(mu.float(), grid, [view]).double()
        assert float((single - exact).square().mean().sqrt() / exact.square().mean().sqrt()) <= tolerance


def test_water_column_is_its_length():
    grid = VolumeGrid((32, 64, 32), 2.5)  # 160 mm of water along the PA's central ray
    mu = torch.full((1, 1, *grid.shape), 0.02, dtype=torch.float64)
    image = project(mu, grid, [ConeBeam.pa(sdd=1800, sod=1650, detector_shape=(1, 1))])
    assert float(image) == pytest.approx(160 * 0.02, rel=1e-12)


def test_batches_and_geometry_tensors_agree():
    mu = torch.rand(3, 1, 12, 14, 16, dtype=torch.float64)
    grid = VolumeGrid((12, 14, 16), 20.0)
    views = preset("chest", (8, 8))
    together = project(mu, grid, views)
    assert together.shape == (3, 2, 8, 8)
    per_case = geometry_tensor(views, torch.float64).expand(3, -1, -1, -1)
    torch.testing.assert_close(project(mu, grid, per_case, detector_shape=(8, 8)), together)
    for i in range(3):
        torch.testing.assert_close(project(mu[i : i + 1], grid, views), together[i : i + 1])


def test_gradients():
    grid = VolumeGrid((5, 6, 7), 40.0)
    mu = torch.rand(1, 1, *grid.shape, dtype=torch.float64, requires_grad=True)
    # The last axis of the detector is off the voxel centres, where the interpolation has a kink.
    geometry = geometry_tensor(preset("chest", (3, 4)), torch.float64).clone()
    geometry[..., 1, :] += torch.tensor([3.1, 2.3, 4.7])
    geometry.requires_grad_()
    assert torch.autograd.gradcheck(lambda m, g: project(m, grid, g, detector_shape=(3, 4)), (mu, geometry))


def marker(grid, lps):
    """A small Gaussian blob at a position in LPS mm."""
    d, h, w = (
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * s for n, s in zip(grid.shape, grid.spacing, strict=True)
    )
    x, y, z = lps
    squared = (d + z)[:, None, None] ** 2 + (h - y)[None, :, None] ** 2 + (w - x)[None, None, :] ** 2
    return torch.exp(-squared / (2 * 4.0**2))[None, None]


def centroid(image):
    rows = torch.arange(image.shape[0], dtype=image.dtype)
    columns = torch.arange(image.shape[1], dtype=image.dtype)
    total = image.sum()
    return float((image.sum(1) * rows).sum() / total), float((image.sum(0) * columns).sum() / total)


@pytest.mark.parametrize("name", ["x2ct", "chest"])
def test_markers_move_as_a_radiographer_expects(name):
    grid = VolumeGrid((128, 128, 128), 2.5)
    pa, lateral = preset(name, (320, 320))
    shift = 60.0
    pixel = pa.column_step[0]
    expected = {
        # position: ((row, column) of the PA, of the lateral), as displacement from the centre in mm at the detector
        (0, 0, shift): ((-shift * pa.sdd / pa.sod, 0), (-shift * lateral.sdd / lateral.sod, 0)),
        (shift, 0, 0): ((0, shift * pa.sdd / pa.sod), (0, 0)),
        (0, shift, 0): ((0, 0), (0, shift * lateral.sdd / lateral.sod)),
    }
    for position, displacements in expected.items():
        images = project(marker(grid, position), grid, [pa, lateral])[0]
        for image, (down, right) in zip(images, displacements, strict=True):
            row, column = centroid(image)
            assert row == pytest.approx(159.5 + down / pixel, abs=0.5)
            assert column == pytest.approx(159.5 + right / pixel, abs=0.5)


def test_markers_lie_where_the_authors_tool_puts_them(oracle):
    readings = json.loads((oracle / "x2ct" / "orientation.json").read_text())
    grid = VolumeGrid((128, 128, 128), 2.5)
    views = preset("x2ct", (320, 320))
    # The readings of the first three rows fix how far out their markers lay: both views agree on it to 0.01 px.
    pixel, magnification = 500 / 320, 949 / 541
    shift = (159.5 - readings["z_plus_xray1"]["row"]) * pixel / magnification
    for axis, lps in (("x", (shift, 0, 0)), ("y", (0, shift, 0)), ("z", (0, 0, shift))):
        for number, image in enumerate(project(marker(grid, lps), grid, views)[0], start=1):
            reading = readings[f"{axis}_plus_xray{number}"]
            row, column = centroid(image)
            assert row == pytest.approx(reading["row"], abs=0.5)
            assert column == pytest.approx(reading["col"], abs=0.5)


def test_a_marker_at_the_left_is_larger_in_the_lateral_of_x2ct_than_of_chest():
    grid = VolumeGrid((64, 64, 64), 5.0)
    widths = {}
    for name in ("x2ct", "chest"):
        lateral = preset(name, (320, 320))[1]
        x = 100.0
        upper = project(marker(grid, (x, 0, 40.0)), grid, [lateral])[0, 0]
        lower = project(marker(grid, (x, 0, -40.0)), grid, [lateral])[0, 0]
        widths[name] = (centroid(lower)[0] - centroid(upper)[0]) * abs(lateral.row_step[2]) / 80.0
    assert widths["x2ct"] == pytest.approx(949 / 441, rel=5e-3)  # source at the left: the marker is near it
    assert widths["chest"] == pytest.approx(1800 / 1700, rel=5e-3)  # detector at the left


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param(
            lambda mu, grid, views: project(mu[0], grid, views), r"shape \(B, 1, D, H, W\)", id="mu-of-four-axes"
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, VolumeGrid((4, 4, 5), 1.0), views),
            r"with the grid's \(4, 4, 5\)",
            id="another-grid",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, views, backend="fast"),
            "unknown backend 'fast'",
            id="unknown-backend",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, geometry_tensor(views)),
            "pass detector_shape",
            id="tensor-without-a-shape",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, torch.zeros(2, 3)), r"\(B, views, 4, 3\)", id="tensor-of-two-axes"
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, geometry_tensor(views).expand(3, -1, -1, -1), "auto", (2, 2)),
            "for 3 volumes, the batch holds 1",
            id="tensor-of-another-batch",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, [ConeBeam.pa(sdd=99, sod=1)]),
            "lies inside the volume",
            id="source-inside",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, [ConeBeam.pa(sdd=9, sod=5).moved((0, -300, 0))]),
            "lies behind the source",
            id="detector-behind-the-source",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, [ConeBeam.pa(sdd=9, sod=2).moved((9, 0, 0))]),
            "reaches behind the source",
            id="volume-behind-the-source",
        ),
        pytest.param(lambda mu, grid, views: project(mu[:0], grid, views), "mu is empty", id="empty-batch"),
        pytest.param(lambda mu, grid, views: project(mu.long(), grid, views), "must be floating point", id="integers"),
        pytest.param(
            lambda mu, grid, views: project(mu.numpy(), grid, views), "must be a torch tensor, got ndarray", id="numpy"
        ),
        pytest.param(lambda mu, grid, views: project(mu.to("meta"), grid, views), "lies on meta", id="meta-device"),
        pytest.param(
            lambda mu, grid, views: project(mu + torch.nan, grid, views),
            "mu holds values that are not finite",
            id="nan",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu + torch.inf, grid, views),
            "mu holds values that are not finite",
            id="infinity",
        ),
        pytest.param(lambda mu, grid, views: project(mu, grid, []), "a list of one or more views", id="no-views"),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, views[0]), "a list of one or more views", id="a-bare-view"
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, views, detector_shape=(5, 5)),
            "one detector shape",
            id="another-shape-than-the-views",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, geometry_tensor(views), detector_shape=(5,)),
            "two positive",
            id="shape-of-one-number",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, torch.zeros(1, 0, 4, 3)),
            r"\(B, views, 4, 3\)",
            id="tensor-of-no-views",
        ),
        pytest.param(
            lambda mu, grid, views: back_project(
                torch.zeros(1, 2, 128, 128, requires_grad=True), grid, views, "reference"
            ),
            "no gradient with backend 'reference'",
            id="gradient-of-the-reference",
        ),
        pytest.param(
            lambda mu, grid, views: back_project(torch.zeros(1, 3, 128, 128), grid, views),
            "hold 3 views",
            id="images-of-more-views",
        ),
        pytest.param(
            lambda mu, grid, views: back_project(torch.zeros(1, 2, 64, 128), grid, views),
            r"\(64, 128\) pixels",
            id="images-of-another-shape",
        ),
        pytest.param(
            lambda mu, grid, views: back_project(torch.zeros(2, 128, 128), grid, views),
            r"\(B, views, rows, columns\)",
            id="images-of-three-axes",
        ),
        pytest.param(
            lambda mu, grid, views: back_project(torch.full((1, 2, 128, 128), torch.nan), grid, views),
            "not finite",
            id="images-of-nan",
        ),
        pytest.param(
            lambda mu, grid, views: project(mu, grid, [views[0], preset("chest", (5, 5))[1]]),
            "one detector shape",
            id="views-of-two-shapes",
        ),
    ],
)
def test_bad_arguments(call, words):
    grid = VolumeGrid((4, 4, 4), 2.0)
    with pytest.raises(InputError, match=words):
        call(torch.zeros(1, 1, 4, 4, 4), grid, preset("chest"))


def test_a_view_that_misses_the_volume_warns_the_caller_every_time():
    grid = VolumeGrid((4, 4, 4), 2.0)
    beside = ConeBeam.pa(sdd=1800, sod=1650).moved((300, 0, 0))
    for views in ([beside], [beside], geometry_tensor([beside])):
        with pytest.warns(UserWarning, match="misses the detector") as caught:
            image = project(torch.ones(1, 1, 4, 4, 4), grid, views, detector_shape=(128, 128))
        assert caught[0].filename == __file__
        assert not image.any()


@pytest.mark.parametrize("angle", [45, 135, -45, -135, 225])
def test_at_a_tie_of_two_axes_all_backends_take_the_same(angle):
    grid = VolumeGrid((12, 16, 16), 12.0)
    for shape in ((9, 9), (10, 10)):
        view = ConeBeam.oblique(angle=angle, sdd=949, sod=541, detector_size=500, detector_shape=shape)
        mu = torch.rand(1, 1, *grid.shape, dtype=torch.float64)
        torch.testing.assert_close(project(mu, grid, [view], "eager"), project(mu, grid, [view], "reference"))


@pytest.mark.parametrize("angle", [0, 8, 12, 15, 20, 45, 70])
def test_flat_voxels_and_a_wide_cone_keep_the_length_of_each_ray(angle):
    """Voxels five times as wide as thin: marching along the thin axis would let some rays run along the slices."""
    grid = VolumeGrid((24, 24, 120), (12.0, 12.0, 2.4))
    view = ConeBeam.oblique(angle=angle, sdd=949, sod=541, detector_size=300, detector_shape=(24, 24))
    length = project(torch.ones(1, 1, *grid.shape, dtype=torch.float64), grid, [view])[0, 0].numpy()
    support = view.ray_support(grid)
    inner = support > 0.9 * support.max()
    assert np.abs(length[inner] / support[inner] - 1).max() < 0.05


def test_a_cone_that_is_too_wide_is_refused():
    view = ConeBeam(
        source=(31, 33, 0),
        detector_centre=(-52, -54, 0),
        column_step=(91, -87, 0),
        row_step=(0, 0, -231),
        detector_shape=(6, 11),
    )
    with pytest.raises(InputError, match="the cone is too wide"):
        project(torch.ones(1, 1, 3, 3, 23), VolumeGrid((3, 3, 23), 5.0), [view])


def test_half_precision_is_accumulated_in_single():
    grid = VolumeGrid((32, 32, 32), 10.0)
    mu = (torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.05).half()
    for view in (*preset("chest", (32, 32)), oblique((32, 32))):
        image = project(mu, grid, [view])
        assert image.dtype == torch.float32
        exact = project(mu.double(), grid, [view])
        assert float((image - exact).square().mean().sqrt() / exact.square().mean().sqrt()) <= FLOAT32_TOLERANCE


@pytest.mark.parametrize("view", [VIEWS[0], VIEWS[3], VIEWS[4]], ids=["pa", "lateral", "oblique"])
def test_memory_of_one_forward(view):
    """Nothing that grows with the samples: what a forward allocates at its peak, beyond its input, is small."""
    size = 128
    view = dataclasses.replace(
        view,
        detector_shape=(size, size),
        column_step=tuple(c / 12 for c in view.column_step),
        row_step=tuple(c / 12 for c in view.row_step),
    )
    grid = VolumeGrid((size, size, size), 2.5)
    mu = torch.rand(1, 1, size, size, size)
    project(mu, grid, [view])
    with torch.profiler.profile(profile_memory=True) as profile:
        project(mu, grid, [view])
    held, peak = 0, 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    volume_and_image = 4 * (size**3 + size**2)
    assert 4 * size**2 < peak
    assert volume_and_image - 4 * size**2 + peak <= 1.2 * volume_and_image + 4 * size**2
