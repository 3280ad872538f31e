"""The networks against numbers that the authors' own code produced (tests/oracle.py)."""

import copy

import pytest
import torch

from conventions import InputError
from networks import PatchDiscriminator3D, X2CTGenerator, from_official
from tests.oracle import MISSING, X2CT, assert_like_oracle, official_state_dict, random_input

GENERATOR_TOLERANCE = 5e-3
"""Largest absolute difference; float32 and float64 differ by up to 8e-4, at an output std of 0.44."""
DISCRIMINATOR_TOLERANCE = 1e-4
FLOAT64_TOLERANCE = 1e-6
"""Largest difference from the float64 run of the oracle, which is stored as float32."""

needs_oracle = pytest.mark.skipif(not X2CT.is_dir(), reason=MISSING)

BIPLANAR = "G__multiview_network_denseUNetFuse_transposed"


@pytest.fixture(scope="module")
def official_generator():
    return official_state_dict(BIPLANAR, image_size=64)


@pytest.fixture(scope="module")
def generator(official_generator):
    network = X2CTGenerator(image_size=64).eval()
    network.load_state_dict(from_official(official_generator, network), strict=True)
    return network


@pytest.fixture(scope="module")
def image():
    return torch.cat([random_input(f"xray{i}_64", (1, 1, 64, 64)) for i in (1, 2)], dim=1)


PARTS = {
    "view1Model.encoder_layer": "pa.encoder.stem",
    "view2Model.encoder_layer0": "lateral.encoder.stages.0",
    "view1Model.encoder_layer3": "pa.encoder.stages.3",
    "view1Model.encoder_layer4": "pa.encoder",
    "view1Model.base_link": "pa.connection_a",
    "view2Model.base_link": "lateral.connection_a",
    "view1Model.linker_layer0": "pa.decoder.levels.4.connection_b",
    "view2Model.linker_layer2": "lateral.decoder.levels.2.connection_b",
    "view2Model.linker_layer4": "lateral.decoder.levels.0.connection_b",
    "view1Model.decoder_layer4": "pa.decoder.levels.0.upsample",
    "view2Model.decoder_compress_layer3": "lateral.decoder.levels.0.merge",
    "decoder_layer4": "main.levels.0",
    "decoder_layer3": "main.levels.1",
    "decoder_layer2": "main.levels.2",
    "decoder_layer1": "main.levels.3",
    "decoder_layer0": "main.levels.4",
    "decoder_layer-1": "main.tail.1",
    "decoder_layer.0": "main.tail.2",
}
"""The authors' name of a part -> ours, for the parts whose output is in the oracle."""


def run(network, image):
    """Return the outputs of all parts, of Connection-C at the finest level, and of the network ("out")."""
    found = {}

    def keep(name):
        return lambda _module, _inputs, output: found.update({name: output})

    modules = dict(network.named_modules())
    names = [name for name in [*PARTS.values(), "connection_c"] if name in modules]
    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    with torch.no_grad():
        found["out"] = network(image)
    for hook in hooks:
        hook.remove()
    _, found["pa.encoder"] = found["pa.encoder"]
    for name in names:
        if name.endswith("connection_b"):  # the first, inner and last slice represent all slices
            first, inner, last = found[name].split(1, dim=2)
            depth = inner.shape[-1]
            found[name] = torch.cat([first, inner.expand(-1, -1, depth - 2, -1, -1), last], dim=2)
    return found


@pytest.fixture(scope="module")
def outputs(generator, image):
    return run(generator, image)


@needs_oracle
def test_generator_gives_the_authors_volume(outputs):
    assert_like_oracle("mv_fuse_64", "out", outputs["out"], GENERATOR_TOLERANCE)


@needs_oracle
@pytest.mark.parametrize("theirs", PARTS)
def test_generator_part_gives_the_authors_output(outputs, theirs):
    assert_like_oracle("mv_fuse_64", f"tap/{theirs}", outputs[PARTS[theirs]], GENERATOR_TOLERANCE)


@needs_oracle
def test_generator_is_exact_in_float64_up_to_half_size(generator, image):
    network = copy.deepcopy(generator)
    for decoder in (network.pa.decoder, network.lateral.decoder, network.main):
        decoder.levels = decoder.levels[:4]  # the finest level is slow in float64
    network.main.tail = torch.nn.Identity()
    found = run(network.double(), image.double())
    for theirs, ours in PARTS.items():
        if ours in found:
            assert_like_oracle("mv_fuse_64", f"tap/{theirs}", found[ours], FLOAT64_TOLERANCE, stored_as="flat64")
    assert "main.levels.3" in found


@needs_oracle
@pytest.mark.parametrize("view", [1, 2])
def test_unused_tails_hold_the_authors_weights(generator, outputs, view):
    _, in_view_frames = outputs["connection_c"]
    branch = (generator.pa, generator.lateral)[view - 1]
    with torch.no_grad():
        volume = branch.decoder.tail(in_view_frames[view - 1])
    assert_like_oracle("mv_fuse_64", f"tap/view{view}Model.decoder_layer.0", volume, GENERATOR_TOLERANCE)


@needs_oracle
def test_views_are_not_interchangeable(generator, image, outputs):
    with torch.no_grad():
        swapped = generator(image.flip(1))
    assert (swapped - outputs["out"]).abs().mean() > 0.05


@needs_oracle
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_discriminator_gives_the_authors_scores(channels):
    network = PatchDiscriminator3D(in_channels=channels).eval()
    network.load_state_dict(from_official(official_state_dict(f"D__basic3d_in{channels}"), network), strict=True)
    with torch.no_grad():
        scores = network(random_input(f"volume{channels}_64", (1, channels, 64, 64, 64)))
    assert_like_oracle(f"d_basic3d_in{channels}_64", "out_0", scores, DISCRIMINATOR_TOLERANCE)


@needs_oracle
def test_parallel_prefix_is_accepted():
    theirs = official_state_dict("D__basic3d_in3")
    network = PatchDiscriminator3D()
    prefixed = from_official({f"module.{key}": value for key, value in theirs.items()}, network)
    assert prefixed.keys() == network.state_dict().keys()


@needs_oracle
def test_missing_entry_is_named(official_generator, generator):
    key = "view2Model.linker_layer3.0.conv_block.0.weight"
    incomplete = {k: v for k, v in official_generator.items() if k != key}
    with pytest.raises(InputError, match=rf"X2CTGenerator: entries 1 missing such as {key}$"):
        from_official(incomplete, generator)


@needs_oracle
def test_foreign_checkpoint_is_refused(generator):
    with pytest.raises(
        InputError, match=r"not a checkpoint .* X2CTGenerator: entries .* missing such as .* unknown such as"
    ):
        from_official(official_state_dict("G__singleview_network_denseUNet_transposed"), generator)


@needs_oracle
def test_ablation_with_the_same_keys_is_refused_by_its_shapes(generator):
    with pytest.raises(InputError, match=r"has shape .* where this X2CTGenerator has"):
        from_official(official_state_dict(f"{BIPLANAR}_withoutconnect", image_size=64), generator)


@needs_oracle
def test_other_image_size_is_refused(official_generator):
    with pytest.raises(InputError, match=r"base_link.0.weight has shape \(2048, 704\) .* \(6912, 704\)"):
        from_official(official_generator, X2CTGenerator(image_size=96))


def test_network_without_counterpart_is_refused():
    with pytest.raises(InputError, match=r"the authors have no Linear; .* X2CTGenerator, SingleViewGenerator, .*"):
        from_official({}, torch.nn.Linear(1, 1))
