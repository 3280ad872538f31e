"""The memory presets on train.json, with the tiny network."""

import json

import pytest
import torch
from monai.bundle import ConfigParser

from conventions import InputError, input_error_in

PRESETS = ("low_memory_6gb", "low_memory_12gb", "low_memory_24gb")

PAPER_BATCH = 4


@pytest.fixture
def trainer_of(root, tiny_overrides):
    """Make the trainer of train.json with a preset; options override both."""

    def make(preset, **options):
        parser = ConfigParser()
        parser.read_config([str(root / "bundle" / "configs" / f"{name}.json") for name in ("train", preset)])
        options = {"bundle_root": str(root / "bundle"), "device": "cpu", "image_size": 64} | tiny_overrides | options
        parser.update({"discriminator_channels": 4, "train::trainer::max_epochs": 1} | options)
        generator = torch.Generator().manual_seed(0)
        count, batches = parser["batch_size"], parser["train::trainer::accumulation_steps"]
        shapes = {"image": (count, 2, 64, 64), "label": (count, 1, 64, 64, 64), "geometry": (count, 2, 4, 3)}
        data = [{key: torch.rand(shape, generator=generator) for key, shape in shapes.items()} for _ in range(batches)]
        parser.update({"train::trainer::train_data_loader": data, "train::trainer::train_handlers": None})
        parser.update({"train::trainer::resume": None})
        torch.manual_seed(0)
        return parser.get_parsed_content("train::trainer")

    return make


def after_a_step(trainer):
    torch.manual_seed(0)
    trainer.run()
    networks = {"generator": trainer.network, "discriminator": trainer.adversary.discriminator}
    weights = {f"{name}.{key}": w for name, network in networks.items() for key, w in network.state_dict().items()}
    return {f"loss.{key}": loss for key, loss in trainer.state.output[0].items()} | weights


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_changes_what_train_json_has_and_keeps_the_papers_batch(root, trainer_of, name):
    configs = root / "bundle" / "configs"
    preset, train = (json.loads((configs / f"{stem}.json").read_text()) for stem in (name, "train"))
    assert {key.split("::")[0] for key in preset} <= train.keys()
    assert preset["batch_size"] * preset["train::trainer::accumulation_steps"] == PAPER_BATCH
    trainer = trainer_of(name)
    assert trainer.precision.dtype is None  # on a CPU
    assert trainer.accumulation_steps == preset["train::trainer::accumulation_steps"]
    assert trainer.network.main.tail.recompute == bool(preset.get("train::trainer::recompute_levels"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_asks_for_fp16_on_cuda_alone(root, name):
    parser = ConfigParser()
    parser.read_config([str(root / "bundle" / "configs" / f"{stem}.json") for stem in ("train", name)])
    parser["bundle_root"] = str(root / "bundle")
    for device, precision in (("cuda:0", "fp16"), (torch.device("cuda"), "fp16"), ("cpu", "fp32")):
        parser["device"] = device
        assert parser.get_parsed_content("precision") == precision


def test_recomputing_changes_no_weight(trainer_of):
    plain = after_a_step(trainer_of("low_memory_6gb", **{"train::trainer::recompute_levels": 0}))
    preset = after_a_step(trainer_of("low_memory_6gb"))
    assert plain.keys() == preset.keys()
    for key, value in plain.items():
        torch.testing.assert_close(preset[key], value, rtol=0, atol=0, msg=key)


def test_an_unknown_precision_ends_in_one_sentence(trainer_of):
    with pytest.raises((InputError, RuntimeError)) as caught:
        trainer_of("low_memory_6gb", precision="fp8")
    assert input_error_in(caught.value) == "unknown precision 'fp8': choose one of fp32, bf16, fp16"
