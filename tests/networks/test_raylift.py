"""RayLift: rays that meet the detector where the projector says, any views in any order, no checkerboard, exports."""

import copy
import itertools

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from conventions import MAX_VIEWS, InputError
from drr import Acquisition, ConeBeam, ParallelBeam, VolumeGrid, geometry_tensor, preset, project
from networks import build_network
from networks.checkpoint import start_from
from networks.onnx_export import write_onnx
from networks.raylift import SMALLEST_ERROR, RefiningHead
from networks.rays import depth_along_beam, detector_frames, project_grid, ray_directions

SIZE = 32

TINY = {
    "image_size": SIZE,
    "voxel_mm": 10.0,
    "encoder_channels": (8, 8, 8, 8, 8),
    "unet_channels": (8, 8, 8),
    "head_channels": (8, 8),
    "lift_channels": (8, 4, 4),
}

REFINED = {"encoder_channels": (8,) * 4, "unet_channels": (8, 8), "refinements": 1}

FORMS = [pytest.param({}, id="plain"), pytest.param(REFINED, id="refined")]

NAMES = ("pa", "lateral", "oblique_30", "parallel_left_lateral", "ap", "oblique_-45", "right_lateral", "parallel_pa")

TOLERANCE = 1e-5
"""Largest difference in unit values; the values of these untrained networks have a standard deviation of 0.03."""


def make(seed=0, trained=True, **changes):
    """Build a network; trained, its refinements do not add nothing, as they do at first."""
    torch.manual_seed(seed)
    network = build_network("raylift", **{**TINY, **changes})
    for head in network.refining if trained else ():
        head.body[-1].reset_parameters()
    return network


def images(batch, views, size=SIZE, seed=0):
    return torch.rand(batch, views, size, size, generator=torch.Generator().manual_seed(seed))


def geometry_of(*names):
    """Tensor (1, views, 4, 3) of views of the preset `chest`."""
    return geometry_tensor(preset("chest", (SIZE, SIZE), names))


def difference(a, b):
    return (a - b).abs().max().item()


# Rays

CHEST = {"sdd": 1800.0, "sod": 1600.0, "detector_size": 430.0}

BEAMS = [
    pytest.param(ConeBeam.pa(**CHEST, detector_shape=(64, 48)), id="pa_of_oblong_pixels"),
    pytest.param(ConeBeam.lateral(detector_side="right", sdd=949.0, sod=541.0, detector_size=500.0), id="near_lateral"),
    pytest.param(ConeBeam.oblique(angle=37.0, tilt=12.0, **CHEST), id="tilted_oblique"),
    pytest.param(ConeBeam.oblique(angle=-120.0, **CHEST).moved((11.0, -7.0, 23.0)), id="off_the_isocentre"),
    pytest.param(
        ConeBeam(
            source=(-30.0, 1500.0, 40.0),
            detector_centre=(20.0, -200.0, -10.0),
            column_step=(3.0, 0.4, 0.2),
            row_step=(0.5, -0.3, -3.5),
            detector_shape=(96, 80),
        ),
        id="leaning_detector_and_oblique_pixels",
    ),
    pytest.param(ParallelBeam.pa(), id="parallel"),
    pytest.param(
        ParallelBeam(
            direction=(1.0, -0.7, 0.2),
            detector_centre=(30.0, -20.0, 10.0),
            column_step=(2.0, 2.5, 0.0),
            row_step=(0.2, 0.0, -3.0),
            detector_shape=(64, 64),
        ),
        id="parallel_to_a_leaning_detector",
    ),
]


def axes_of(grid):
    """z, y and x of the voxel centres, as `project_grid` takes them."""
    return torch.tensor(grid.positions_lps(np.arange(grid.shape[0])[:, None].repeat(3, 1))[:, ::-1].T.copy()).float()


def frame(beam):
    """A view as the network takes it, (1, 1, 4, 3)."""
    return detector_frames(geometry_tensor([beam]), *beam.detector_shape)


@pytest.mark.parametrize("beam", BEAMS)
def test_voxels_project_to_where_the_view_sees_them(beam):
    grid = VolumeGrid(12, 25.0)
    found, w = project_grid(frame(beam)[:, 0], axes_of(grid))
    voxels = np.argwhere(np.ones(grid.shape))
    rows, columns = beam.detector_shape
    expected = beam.project_points(voxels, grid)
    pixels = (found.reshape(-1, 2).flip(1).numpy() + 1) * [rows / 2, columns / 2] - 0.5
    assert np.abs(pixels - expected).max() < 1e-3
    magnification = [beam.magnification(point) for point in grid.positions_lps(voxels)]
    np.testing.assert_allclose(1 / w.flatten().numpy(), magnification, rtol=1e-5)


@pytest.mark.parametrize("beam", BEAMS)
def test_directions_and_depths_are_those_of_the_rays(beam):
    rows, columns = beam.detector_shape
    found = ray_directions(frame(beam), rows, columns)[0, 0]
    r, c = rows - 3, 5
    pixel = beam.first_pixel + r * np.array(beam.row_step) + c * np.array(beam.column_step)
    expected = beam.direction if isinstance(beam, ParallelBeam) else pixel - beam.source
    np.testing.assert_allclose(found[:, r, c], expected / np.linalg.norm(expected), atol=1e-5)
    grid = VolumeGrid(4, 60.0)
    depth = depth_along_beam(frame(beam)[:, 0], axes_of(grid)).flatten()
    positions = grid.positions_lps(np.argwhere(np.ones(grid.shape)))
    np.testing.assert_allclose(depth, positions @ np.array(beam.direction), atol=1e-3)


def test_a_bright_voxel_is_lifted_to_where_it_is():
    grid, voxel = VolumeGrid(24, 12.0), (5, 16, 8)
    mu = torch.zeros(1, 1, *grid.shape)
    mu[(0, 0, *voxel)] = 1.0
    common = {**CHEST, "detector_shape": (96, 96)}
    views = [
        ConeBeam.pa(**common),
        ConeBeam.oblique(angle=50.0, tilt=8.0, **common),
        ConeBeam.oblique(angle=-65.0, **common),
        ParallelBeam.lateral(detector_size=430.0, detector_shape=(96, 96)),
    ]
    radiographs = project(mu, grid, views)[0]
    lifted = []
    for view, radiograph in zip(views, radiographs, strict=True):
        positions, _ = project_grid(frame(view)[:, 0], axes_of(grid))
        row, column = (positions[0][voxel].flip(0).numpy() + 1) * 48 - 0.5
        weights = radiograph.numpy() / radiograph.sum().item()
        centre = [(weights.sum(1 - axis) * np.arange(96)).sum() for axis in (0, 1)]
        np.testing.assert_allclose([row, column], centre, atol=0.1)
        lifted.append(grid_sample(radiograph[None, None], positions.flatten(1, 2), align_corners=False))
    together = torch.stack(lifted).amin(0).reshape(grid.shape)  # what every view sees
    assert np.unravel_index(together.argmax().item(), grid.shape) == voxel


def test_a_smaller_map_is_sampled_at_the_same_place():
    beam, grid = ConeBeam.oblique(angle=20.0, **CHEST, detector_shape=(64, 64)), VolumeGrid(8, 20.0)
    ramp = torch.linspace(0, 1, 64)[:, None] + 2 * torch.linspace(0, 1, 64) + torch.zeros(1, 1, 64, 64)
    positions = project_grid(frame(beam)[:, 0], axes_of(grid))[0].flatten(1, 2)
    whole, quarter = (grid_sample(m, positions, align_corners=False) for m in (ramp, avg_pool2d(ramp, 4)))
    assert whole.std() > 0.2
    assert difference(whole, quarter) < 1e-5


# Views


def test_the_order_of_views_does_not_matter():
    network, image, geometry = make(), images(2, 3), geometry_of("pa", "oblique_30", "parallel_left_lateral")
    with torch.no_grad():
        expected = network(image, geometry)
        for order in itertools.permutations(range(3)):
            assert difference(network(image[:, order], geometry[:, order]), expected) < TOLERANCE
        assert difference(network(image[:, [1, 0, 2]], geometry), expected) > 100 * TOLERANCE


@pytest.mark.parametrize("train", [pytest.param(True, id="training"), pytest.param(False, id="evaluation")])
def test_a_case_does_not_depend_on_its_batch(train):
    network, image = make().train(train), images(3, 2)
    geometry = torch.cat([geometry_of("pa", "lateral"), geometry_of("oblique_30", "ap"), geometry_of("ap", "pa")])
    with torch.no_grad():
        together = network(image, geometry)
        for case in range(3):
            one = slice(case, case + 1)
            assert difference(network(image[one], geometry[one]), together[one]) < TOLERANCE
    assert difference(together[0], together[1]) > 100 * TOLERANCE


@pytest.mark.parametrize("name", ["chest", "x2ct"])
def test_without_geometry_the_views_are_those_of_the_preset(name):
    acquisition = Acquisition(
        grid=VolumeGrid(SIZE, 10.0), geometry=name, view_names=("lateral", "oblique_45"), detector_shape=SIZE
    )
    network, image = make(views=acquisition.view_names, geometry=name), images(2, 2)
    given = acquisition.geometry_tensor()[None]
    with torch.no_grad():
        assert torch.equal(network(image), network(image, given))
        assert torch.equal(network(image), network(image, given.expand(2, -1, -1, -1).double()))
        assert difference(network(image), network(image, geometry_of("pa", "lateral"))) > 100 * TOLERANCE
    assert not any("preset" in key for key in network.state_dict())


@pytest.mark.parametrize(("views", "form"), [*((n, {}) for n in range(1, MAX_VIEWS + 1)), (2, REFINED)])
def test_any_number_of_views_and_a_gradient_to_every_parameter(views, form):
    network = make(**form)
    geometry = geometry_of(*NAMES[:views]).requires_grad_()
    image = images(1, views, 48).requires_grad_()
    volume = network(image, geometry)
    assert volume.shape == (1, 1, SIZE, SIZE, SIZE)
    volume.square().sum().backward()
    for tensor in (image, geometry, *network.parameters()):
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().max() > 0
    assert (image.grad.flatten(2).abs().amax(2) > 0).all()  # every view counts


def test_a_masked_view_is_as_if_it_were_not_there():
    network, image, geometry = make(), images(2, 3), geometry_of("pa", "oblique_30", "lateral").repeat(2, 1, 1, 1)
    mask = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    with torch.no_grad():
        expected = [network(image[:1, [0, 2]], geometry[:1, [0, 2]]), network(image[1:, 2:], geometry[1:, 2:])]
        image[mask == 0], geometry[mask == 0] = torch.nan, torch.nan
        for kind in (mask, mask.bool()):
            assert difference(network(image, geometry, kind), torch.cat(expected)) < TOLERANCE
        geometry[mask == 0] = 0
        assert difference(network(image, geometry, mask), torch.cat(expected)) < TOLERANCE


# The volume


def powers_at_the_grid(volume):
    """Power at periods of 2 and of 4 voxels over that of the periods around them: two tensors, one number an axis."""
    centred, size = volume[:, 0] - volume.mean(), volume.shape[-1]
    of_2, of_4 = size // 2, size // 4
    spectra = torch.stack(
        [
            torch.fft.rfft(centred.movedim(axis, -1) * torch.hann_window(size)).abs().square().mean((0, 1, 2))
            for axis in (1, 2, 3)
        ]
    )
    # The window spreads a line over the bins next to it, so they are left out.
    around_4 = spectra[:, [of_4 - 3, of_4 - 2, of_4 + 2, of_4 + 3]].log().mean(1).exp()
    return spectra[:, of_2] / spectra[:, of_2 - 4 : of_2 - 1].mean(1), spectra[:, of_4] / around_4


def with_transposed_convolutions(network):
    """The network with transposed convolutions where it interpolates a volume."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) and isinstance(module[-1], nn.Upsample) and module[-1].mode != "bilinear":
            before = module[-2]
            module[-2] = nn.Identity()
            module[-1] = nn.ConvTranspose3d(before.in_features, before.out_features, 2, stride=2)
        if isinstance(module, RefiningHead):
            channels = module.lift.merge.out_features
            module.enlarge = nn.ConvTranspose3d(channels, channels, 2, stride=2)
    return network


@pytest.mark.parametrize(("seed", "form"), [(0, {}), (1, {}), (2, {}), (0, REFINED)])
def test_no_checkerboard(seed, form):
    network, image = make(seed, **form), interpolate(images(4, 2, 8, seed), size=SIZE, mode="bicubic").clip(0, 1)
    with torch.no_grad():
        assert (torch.stack(powers_at_the_grid(network(image))) < 1.2).all()
        of_2, of_4 = powers_at_the_grid(with_transposed_convolutions(network)(image))
    assert (of_2 > 3).all()
    assert form == REFINED or of_4.mean() > 1.5  # a further interpolation blurs the head before it


def test_the_expected_error_is_positive_and_costs_the_volume_nothing():
    network, image = make(uncertainty=True), images(2, 2)
    volume, error = network.forward_with_error(image, geometry_of("pa", "lateral"))
    assert torch.equal(volume, network(image))
    assert error.shape == volume.shape
    assert error.min() >= SMALLEST_ERROR
    error.sum().backward()
    touched = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert touched == {"error"}


def test_without_uncertainty_there_is_no_expected_error():
    network = make()
    with pytest.raises(InputError, match="estimates no errors: use or train one made with uncertainty=True"):
        network.forward_with_error(images(1, 2))
    assert network.state_dict().keys() == {k for k in make(uncertainty=True).state_dict() if k.split(".")[0] != "error"}


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_recomputing_changes_no_gradient(levels):
    network, image = make(**REFINED), images(1, 2)
    gradients = []
    for level in (0, levels):
        network.recompute(level)
        network.zero_grad()
        network(image).square().sum().backward()
        gradients.append([p.grad.clone() for p in network.parameters()])
    for kept, computed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, computed)


def test_it_learns_a_case():
    network, image = make(), images(1, 2)
    target = interpolate(torch.rand(1, 1, 4, 4, 4, generator=torch.Generator().manual_seed(1)), size=(SIZE,) * 3)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = (network(image) - target).abs().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * (target - target.median()).abs().mean().item()


def test_a_refinement_begins_with_the_enlarged_volume_of_the_network_of_half_the_size(tmp_path):
    half = make(1, **{**REFINED, "refinements": 0, "image_size": SIZE // 2, "voxel_mm": 20.0}, uncertainty=True)
    torch.save(half.state_dict(), tmp_path / "half.pt")
    network = make(trained=False, **REFINED, uncertainty=True)
    start_from(network, tmp_path / "half.pt")
    image, geometry = images(2, 2), geometry_of("lateral", "oblique_45")
    smaller = geometry_tensor(preset("chest", (SIZE // 2, SIZE // 2), ("lateral", "oblique_45")))
    with torch.no_grad():
        expected = interpolate(half(avg_pool2d(image, 2), smaller), scale_factor=2, mode="trilinear")
        assert difference(network(image, geometry), expected) < 2 * TOLERANCE  # directions of rays are averaged
        network.refining[0].body[-1].reset_parameters()
        assert difference(network(image, geometry), expected) > 100 * TOLERANCE
    torch.save(network.state_dict(), tmp_path / "whole.pt")
    with pytest.raises(InputError, match=r"holds 'refining\.0"):
        start_from(half, tmp_path / "whole.pt")


def test_sizes():
    with torch.device("meta"):
        small, base = (sum(p.numel() for p in build_network(n).parameters()) for n in ("raylift", "raylift_base"))
    assert 4e6 < small < 5e6
    assert 3 * small < base < 5 * small


# Exports


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("form", FORMS)
def test_torchscript_of_any_views(form):
    network = make(**form, uncertainty=True).eval()
    scripted = torch.jit.script(network)
    traced = torch.jit.trace(network, (images(1, 2),), check_trace=False)
    image, geometry = images(2, 3), geometry_of("pa", "oblique_30", "parallel_left_lateral")
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]])
    with torch.no_grad():
        assert difference(scripted(image, geometry), network(image, geometry)) < TOLERANCE
        assert difference(scripted(image, geometry, mask), network(image, geometry, mask)) < TOLERANCE
        for module in (scripted, traced):
            assert difference(module(image[:, :2]), network(image[:, :2])) < TOLERANCE


@pytest.mark.parametrize("form", FORMS)
def test_onnx_holds_the_geometry_of_its_preset(form, tmp_path):
    network = make(views=("pa", "parallel_lateral", "oblique_30"), **form).eval()
    largest, highest = write_onnx(network, tmp_path / "out.onnx", (3, SIZE, SIZE), {})
    assert 0 < largest < 1e-4 * highest


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_onnx_may_take_the_geometry(tmp_path):
    network, image, geometry = make().eval(), images(2, 3), geometry_of("pa", "oblique_30", "parallel_left_lateral")
    torch.onnx.export(
        network,
        (images(1, 3, seed=1), geometry_of("lateral", "ap", "pa")),
        tmp_path / "out.onnx",
        input_names=["image", "geometry"],
        output_names=["pred"],
        dynamic_axes={name: {0: "batch"} for name in ("image", "geometry", "pred")},
        opset_version=18,
        dynamo=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    geometry = geometry.repeat(2, 1, 1, 1)
    (found,) = session.run(None, {"image": image.numpy(), "geometry": geometry.numpy()})
    with torch.no_grad():
        expected = network(image, geometry)
    assert difference(torch.from_numpy(found), expected) < 1e-4 * expected.abs().max()


def test_autocast_keeps_positions_exact():
    network, image = make().eval(), images(1, 2)
    with torch.no_grad():
        expected = network(image)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = network(image, geometry_of("pa", "lateral")).float()
    centred = expected - expected.mean()
    assert (found - found.mean() - centred).square().mean() < 0.05 * centred.square().mean()


# Bad input


@pytest.mark.parametrize(
    ("image", "geometry", "mask", "words"),
    [
        pytest.param((1, 9, 32, 32), (1, 9, 4, 3), None, "takes .* 1 to 8 views$", id="nine_views"),
        pytest.param((1, 0, 32, 32), (1, 0, 4, 3), None, "takes .* 1 to 8 views$", id="no_view"),
        pytest.param((2, 32, 32), None, None, r"shape \(2, 32, 32\); raylift takes", id="no_batch"),
        pytest.param((1, 2, 40, 32), None, None, "40 x 32 pixels: raylift takes multiples of 16$", id="odd_size"),
        pytest.param((1, 3, 32, 32), None, None, "3 radiographs .* need their geometry: .* 2 of 32 x 32$", id="views"),
        pytest.param((1, 2, 64, 64), None, None, "of 64 x 64 pixels need their geometry", id="preset_of_other_pixels"),
        pytest.param((1, 2, 32, 32), (1, 3, 4, 3), None, r"needs \(1 or 1, 2, 4, 3\)$", id="geometry_of_three_views"),
        pytest.param((3, 2, 32, 32), (2, 2, 4, 3), None, r"needs \(3 or 1, 2, 4, 3\)$", id="geometry_of_two_cases"),
        pytest.param((1, 2, 32, 32), (2, 4, 3), None, r"shape \(2, 4, 3\)", id="geometry_without_batch"),
        pytest.param((1, 2, 32, 32), None, (1, 3), r"mask has shape \(1, 3\); .* \(1, 2\)$", id="mask_of_three_views"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(image, geometry, mask, words):
    tensors = [None if shape is None else torch.ones(shape) for shape in (image, geometry, mask)]
    with pytest.raises(InputError, match=words):
        make()(*tensors)


def test_a_case_without_a_view_is_refused():
    with pytest.raises(InputError, match="the mask leaves a case without a view"):
        make()(images(2, 2), mask=torch.tensor([[1, 0], [0, 0]]))


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda g: g[1, 1].mul_(0.001), id="metres_taken_for_millimetres"),
        pytest.param(lambda g: g[1, 1, :2].add_(torch.tensor([0.0, 0.0, 900.0])), id="beside_the_detector"),
        pytest.param(lambda g: g[1, 1, 0].copy_(0.95 * g[1, 1, 1]), id="volume_behind_the_source"),
        pytest.param(lambda g: g[1, 1, 0].mul_(0.05), id="source_in_the_volume"),
        pytest.param(lambda g: g[1, 1, 2].fill_(torch.nan), id="not_a_number"),
        pytest.param(lambda g: g[1, 1].zero_(), id="zeros"),
    ],
)
def test_a_view_that_cannot_show_the_volume_is_refused(spoil):
    geometry = geometry_of("pa", "lateral").repeat(2, 1, 1, 1)
    spoil(geometry)
    with pytest.raises(InputError, match="view 2 of case 2 cannot show the volume"):
        make()(images(2, 2), geometry)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"image_size": 40}, "image_size is 40; .* multiple of 16, and at least 32$", id="size"),
        pytest.param({"image_size": 48, "refinements": 1}, "image_size is 48; .* multiple of 32", id="refined_size"),
        pytest.param({"refinements": 4}, "refinements is 4; give a number from 0 to 3", id="refinements"),
        pytest.param({"views": ["pa"] * 9}, "name one to 8", id="nine_views"),
        pytest.param({"views": []}, "name one to 8", id="no_view"),
        pytest.param({"views": ["side"]}, "side", id="unknown_view"),
        pytest.param({"geometry": "skull"}, "unknown geometry 'skull'", id="unknown_preset"),
        pytest.param({"head_channels": (8,)}, r"head_channels is \[8\]; give 2 positive numbers", id="one_head"),
        pytest.param({"encoder_channels": (8, 8)}, "give 3 to 8 positive numbers", id="shallow_encoder"),
        pytest.param({"lift_channels": (8, 4, 0)}, "lift_channels .* give 3 positive numbers", id="nothing_lifted"),
    ],
)
def test_arguments_that_cannot_be_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        make(**changes)
