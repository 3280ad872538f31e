"""The two configurations that train translators, run tiny as their commands."""

import json

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from networks import build_network
from tests.film_phantom import films

METHODS = ("cyclegan", "fastcut")

TINY = {"image_size": 64, "volume_size": 64, "channels": 4, "blocks": 1, "discriminator_channels": 4}


def config(root, method):
    return root / "bundle" / "configs" / f"train_{method}.json"


@pytest.fixture(scope="session")
def film_dir(tmp_path_factory):
    """Three patients' PA films and one lateral."""
    folder = tmp_path_factory.mktemp("films")
    for seed in range(3):
        for view, name in enumerate(("pa", "lateral")):
            if view == 0 or seed == 0:
                pixels = (films(seed)[view] * 65535).astype(np.uint16)
                Image.fromarray(pixels).save(folder / f"case{seed}_{name}.png")
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_our_code_is_reached_by_target_alone_and_keys_are_at_the_top(root, method):
    packages = {path.parent.name for path in root.glob("*/__init__.py")}
    content = json.loads(config(root, method).read_text())

    def walk(node):
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(value)
        if isinstance(node, dict) and str(node.get("_target_", "")).split(".")[0] in packages:
            assert node["_requires_"] == "@repo_path", node

    walk(content)
    assert {"film_dir", "dataset_dir", "output_dir", "ckpt_dir", "geometry", "curve", "film", "device"} <= set(content)
    assert content["run"] == "%training"
    assert content["training"][:3] == ["@report_input_errors", "@check_run", "@film_files"]


def test_the_papers_stand_in_the_configs(root):
    cyclegan, fastcut = (json.loads(config(root, method).read_text()) for method in METHODS)
    for content in (cyclegan, fastcut):
        assert (content["learning_rate"], content["batch_size"], content["max_epochs"]) == (2e-4, 1, 200)
        assert content["optimizer"]["betas"] == content["discriminator_optimizer"]["betas"] == [0.5, 0.999]
        assert content["schedule_stepped"] == "end"
    assert (cyclegan["lambda_real"], cyclegan["lambda_drr"], cyclegan["pool_size"]) == (10, 10, 50)
    assert cyclegan["structure_weight"] == 0
    assert (fastcut["content_weight"], fastcut["temperature"], fastcut["patches"]) == (10, 0.07, 256)
    assert fastcut["network_def"]["antialias"] is True
    for size, blocks in ((128, 6), (256, 9)):
        parser = ConfigParser()
        parser.read_config(str(config(root, "cyclegan")))
        parser.update({"image_size": size, "bundle_root": str(root / "bundle")})
        with torch.device("meta"):
            assert len(parser.get_parsed_content("network_def").blocks) == blocks


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_translator_is_trained_resumed_and_can_be_loaded(
    root, tiny_cohort, film_dir, bundle_verb_of_any_size, tmp_path, method
):
    def run(out, **options):
        common = {"bundle_root": root / "bundle", "output_dir": out, "ckpt_dir": out / "models", **TINY}
        common |= {"film_dir": film_dir, "dataset_dir": tiny_cohort, "constant_epochs": 2}
        file = config(root, method)
        return bundle_verb_of_any_size("run", "training", "--config_file", str(file), cwd=tmp_path, **common | options)

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    done = [run(whole, max_epochs=2), run(stopped, max_epochs=1), run(stopped, max_epochs=2, resume="latest")]
    assert [step.returncode for step in done] == [0, 0, 0], done[0].stderr[-2000:]
    assert "4 of 4 films are used" in done[0].stderr + done[0].stdout
    expected = torch.load(whole / "models" / "real_to_drr.pt", weights_only=True)
    found = torch.load(stopped / "models" / "real_to_drr.pt", weights_only=True)
    assert not [name for name in expected if not torch.equal(found[name], expected[name])]
    record = json.loads((whole / "models" / "real_to_drr.json").read_text())
    assert (record["method"], record["translator"], record["data"]["films"]) == (method, "real_to_drr", 4)
    network = build_network(record["network"]["name"], **record["network"]["arguments"])
    network.load_state_dict(found)
    assert (whole / "models" / "drr_to_real.pt").exists() == (method == "cyclegan")
    lines = (whole / "losses.csv").read_text().splitlines()
    assert len(lines) == 3
    assert all(np.isfinite(float(value)) for value in lines[1].split(",")[1:-1])

    swapped = run(tmp_path / "bad", film_dir=tiny_cohort)
    assert swapped.returncode != 0
    assert swapped.stderr.strip().splitlines()[-1].startswith(f"Error: {tiny_cohort}: holds CTs and no films; exchange")
