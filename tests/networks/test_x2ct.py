import copy
import io

import pytest
import torch

from conventions import InputError, View, expand_views
from networks import X2CTGenerator, build_network
from networks.blocks import ConnectionC

OFFICIAL_PARAMETERS = 61_740_467
SCRIPT_TOLERANCE = 1e-6
BATCH_TOLERANCE = 1e-4
"""Largest difference of a case between batches of one size with different other cases."""

SMALL = {
    "image_size": 64,
    "stem_channels": 16,
    "growth_rate": 8,
    "bottleneck_factor": 2,
    "dense_layers": (2, 3, 2, 1, 2),
    "decoder_channels": (40, 24, 16, 12, 8, 6),
}


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    network = X2CTGenerator(**SMALL).eval()
    torch.nn.init.normal_(network.main.tail[2].weight, 0.0, 0.1)  # a volume that is not nearly constant
    return network


@pytest.fixture(scope="module")
def image():
    return torch.rand(2, 2, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def volume(generator, image):
    with torch.no_grad():
        return generator(image)


def test_parameter_count_is_the_authors():
    with torch.device("meta"):
        network = X2CTGenerator()
    assert sum(p.numel() for p in network.parameters()) == OFFICIAL_PARAMETERS


def test_default_sizes_give_a_cube_of_the_image_size():
    with torch.device("meta"):
        assert X2CTGenerator()(torch.empty(1, 2, 128, 128)).shape == (1, 1, 128, 128, 128)


def test_volume_has_one_channel_and_the_relu(volume):
    assert volume.shape == (2, 1, 64, 64, 64)
    assert volume.min() == 0.0
    assert volume.std() > 0.01


def test_geometry_is_ignored(generator, image, volume):
    with torch.no_grad():
        assert torch.equal(generator(image, torch.rand(2, 2, 4, 3)), volume)


def test_items_of_a_batch_are_independent(generator, image, volume):
    other = torch.stack([image[0], 1 - image[1]])
    with torch.no_grad():
        torch.testing.assert_close(generator(other)[0], volume[0], atol=BATCH_TOLERANCE, rtol=0)


def test_script_agrees_with_eager_after_saving(generator, image, volume):
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(generator), file)
    file.seek(0)
    scripted = torch.jit.load(file)
    with torch.no_grad():
        torch.testing.assert_close(scripted(image), volume, atol=SCRIPT_TOLERANCE, rtol=0)
        torch.testing.assert_close(scripted(image, torch.rand(2, 2, 4, 3)), volume, atol=SCRIPT_TOLERANCE, rtol=0)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_trace_agrees_with_eager(generator, image, volume):
    with torch.no_grad():
        traced = torch.jit.trace(generator, (image[:1],))
        torch.testing.assert_close(traced(image), volume, atol=BATCH_TOLERANCE, rtol=0)


def test_deep_copy_is_the_same_network(generator, image, volume):
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(generator)(image), volume)


def test_runs_in_bfloat16(image):
    tiny = {"stem_channels": 2, "growth_rate": 2, "dense_layers": (1,) * 5, "decoder_channels": (4, 2, 2, 2, 2, 2)}
    network = X2CTGenerator(image_size=64, **tiny)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        volume = network(image[:1])
    assert volume.isfinite().all()


def test_only_the_view_tails_get_no_gradient(image):
    network = X2CTGenerator(**SMALL, activation="softplus")
    network(image).mean().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert len(without) == 8
    assert all(".decoder.tail." in name for name in without)


def test_weights_start_normal_and_biases_at_zero():
    network = X2CTGenerator(**SMALL)
    weights = torch.cat([p.flatten() for name, p in network.named_parameters() if name.endswith("weight")])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert all((p == 0).all() for name, p in network.named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        pytest.param("relu", torch.relu, id="relu"),
        pytest.param("softplus", torch.nn.functional.softplus, id="softplus"),
        pytest.param("sigmoid", torch.sigmoid, id="sigmoid"),
        pytest.param("tanh", torch.tanh, id="tanh"),
    ],
)
def test_activation_follows_the_last_convolution(generator, image, activation, function):
    def run(name):
        network = X2CTGenerator(**SMALL, activation=name).eval()
        network.load_state_dict(generator.state_dict())
        with torch.no_grad():
            return network(image[:1])

    assert torch.equal(run(activation), function(run("linear")))


def test_connection_c_averages_views_in_the_volume_frame(image):
    depth = image.shape[-1]
    in_view_frames = [image[:, i : i + 1, None].expand(-1, -1, depth, -1, -1) for i in range(2)]
    fused, back = ConnectionC((View.PA, View.LATERAL))(in_view_frames)
    assert torch.equal(fused[:, 0], expand_views(image, depth).mean(dim=1))
    for view, feature in zip(View, back, strict=True):
        again, _ = ConnectionC((view,))([feature])
        assert torch.equal(again, fused)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"image_size": 100},
            r"image_size is 100; it must be a multiple of 32, and at least 64$",
            id="no multiple of 32",
        ),
        pytest.param({"image_size": 32}, r"image_size is 32; .* at least 64$", id="too small"),
        pytest.param({"dense_layers": (6, 12)}, r"dense_layers is \[6, 12\]; .* give 5 numbers$", id="stages"),
        pytest.param({"decoder_channels": (16, 8)}, r"decoder_channels is \[16, 8\]; .* give 6 numbers$", id="levels"),
        pytest.param(
            {"activation": "rleu"},
            "unknown activation 'rleu': choose one of relu, linear, softplus, sigmoid, tanh$",
            id="activation",
        ),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        X2CTGenerator(**arguments)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((1, 1, 64, 64), id="one view"),
        pytest.param((1, 2, 128, 128), id="other size"),
        pytest.param((2, 64, 64), id="no batch"),
    ],
)
def test_image_of_another_shape_is_refused(generator, shape):
    with pytest.raises(InputError, match=r"this network takes \(batch, 2, 64, 64\)"):
        generator(torch.rand(shape))


@pytest.mark.parametrize("name", ["x2ct_biplanar", "x2ct_biplanar_without_b", "x2ct_single_view"])
def test_recomputing_keeps_less_and_changes_nothing(name):
    torch.manual_seed(0)
    network = build_network(name, **{**SMALL, "dropout": 0.0, "activation": "linear"})
    image = torch.rand(1, 1 if name == "x2ct_single_view" else 2, 64, 64)

    def gradients_and_kept_voxels():
        kept = {}
        network.zero_grad()
        remember = lambda tensor: kept.update({tensor.data_ptr(): tensor.numel()}) or tensor  # noqa: E731
        with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
            loss = network(image).square().mean()
        loss.backward()
        return [p.grad for p in network.parameters()], sum(kept.values())

    plain, all_voxels = gradients_and_kept_voxels()
    network.recompute(2)
    recomputed, fewer_voxels = gradients_and_kept_voxels()
    assert fewer_voxels < 0.5 * all_voxels
    for ours, expected in zip(recomputed, plain, strict=True):
        assert (ours is None) == (expected is None)
        assert ours is None or torch.equal(ours, expected)
    network.recompute(0)
    assert gradients_and_kept_voxels()[1] == all_voxels


@pytest.mark.parametrize("connection_c", ["replace", "none"])
def test_views_give_volumes_of_their_own(connection_c):
    torch.manual_seed(0)
    network = X2CTGenerator(**SMALL, connection_c=connection_c).eval()
    image = torch.rand(1, 2, 64, 64)
    with torch.no_grad():
        volume, of_views = network.forward_with_views(image)
        assert torch.equal(volume, network(image))
    assert [v.shape for v in of_views] == [volume.shape] * 2
