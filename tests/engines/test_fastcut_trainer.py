"""FastCUT's training on networks small enough to train in a second."""

import math

import pytest
import torch

from engines import FastCUTTrainer
from losses import LSGANLoss, PatchNCELoss
from networks import PatchProjector, ResnetGenerator
from tests.cyclegan_runs import final
from tests.cyclegan_runs import make_fastcut_run as make_run


def test_everything_learns_and_the_content_term_falls(tmp_path):
    trainer = make_run(tmp_path, max_epochs=1)
    before = {name: tensor.clone() for name, tensor in final(trainer).items()}
    trainer.run()
    first = float(trainer.state.output["content"])
    assert first < 10 * math.log(32) * 1.2  # nothing told apart
    moved = final(trainer)
    for part in ("network head.weight", "projector layers.0.0.weight", "discriminator layers.0.conv.weight"):
        assert not torch.equal(before[part], moved[part])
    longer = make_run(tmp_path / "longer", max_epochs=12)
    longer.run()
    assert float(longer.state.output["content"]) < first
    assert float(longer.state.output["polarity"]) > 0.3


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near_full_precision(tmp_path, precision):
    first = {}
    for kind in ("fp32", precision):
        trainer = make_run(tmp_path / kind, max_epochs=1, precision=kind, epoch_length=1)
        trainer.run()
        first[kind] = [float(trainer.state.output[name]) for name in ("content", "discriminator_drr")]
    assert first[precision] == pytest.approx(first["fp32"], rel=0.03)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="as published"),
        pytest.param({"accumulation_steps": 2, "clip_norm": 1.0}, id="accumulated and clipped"),
        pytest.param({"precision": "bf16"}, id="bf16"),
    ],
)
def test_a_run_continues_as_if_it_had_not_stopped(tmp_path, options):
    whole = make_run(tmp_path / "whole", max_epochs=3, **options)
    whole.run()
    make_run(tmp_path / "stopped", max_epochs=1, **options).run()
    resumed = make_run(tmp_path / "stopped", max_epochs=3, **options)
    resumed.run()
    expected, found = final(whole), final(resumed)
    assert found.keys() == expected.keys()
    assert not [name for name in found if not torch.equal(found[name], expected[name])]


def test_mirrored_steps_compare_the_same_places():
    """A generator that does nothing keeps its content perfectly, mirrored or not."""

    class Nothing(ResnetGenerator):
        def forward(self, x):
            return x + 0 * self.head.bias.sum()

    torch.manual_seed(0)
    network = Nothing(channels=4, blocks=1)
    trainer = FastCUTTrainer(
        "cpu", 1, [], network, PatchProjector(network.feature_channels, 8), torch.nn.Identity(),
        torch.optim.SGD(network.parameters(), 0.1), torch.optim.SGD(network.parameters(), 0.1), LSGANLoss(),
        PatchNCELoss(),
    )  # fmt: skip
    film = torch.rand(1, 1, 32, 32)
    translated, source = trainer._patches(*trainer._features(film, film, mirrored=False))
    for a, b in zip(translated, source, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    # Only the symmetric layers, here the image itself.
    mirrored, source = trainer._patches(*trainer._features(film, film.flip(-1), mirrored=True))
    torch.testing.assert_close(mirrored[0], source[0], rtol=0, atol=1e-6)
