"""The two configurations that train translators, run tiny as their commands."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from drr import Acquisition, VolumeGrid
from networks import build_network, make_record, write_record
from tests.film_phantom import films

METHODS = ("cyclegan", "fastcut")

TINY = {"image_size": 64, "channels": 4, "blocks": 1, "discriminator_channels": 4}


def configs(root, method, *more):
    names = ["train_cyclegan", *(["fastcut"] if method == "fastcut" else []), *more]
    return [str(root / "bundle" / "configs" / f"{name}.json") for name in names]


def content_of(root, method):
    """The raw content of a method's configs, the overlay's on the base's."""
    parser = ConfigParser()
    parser.read_config(configs(root, method))
    return parser.get()


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


@pytest.fixture(scope="session")
def all_pa(tmp_path_factory):
    """Four PA films."""
    folder = tmp_path_factory.mktemp("pa")
    for seed in range(4):
        Image.fromarray((films(seed)[0] * 65535).astype(np.uint16)).save(folder / f"case{seed}_pa.png")
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_our_code_is_reached_by_target_alone_and_keys_are_at_the_top(root, method):
    packages = {path.parent.name for path in root.glob("*/__init__.py")}
    content = content_of(root, method)

    def walk(node):
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            walk(value)
        if isinstance(node, dict) and str(node.get("_target_", "")).split(".")[0] in packages:
            assert node["_requires_"] == "@repo_path", node

    walk(content)
    at_the_top = {"film_dir", "dataset_dir", "output_dir", "ckpt_dir", "geometry", "curve", "film_style", "device"}
    assert at_the_top <= set(content)
    assert content["run"] == "%training"
    assert content["training"][:3] == ["@start", "@acquisition", "@film_files"]


@pytest.mark.parametrize("method", METHODS)
def test_no_property_is_missing(root, method, film_dir, tiny_cohort, tmp_path):
    data = {"film_dir": str(film_dir), "dataset_dir": str(tiny_cohort)}
    folders = {"output_dir": str(tmp_path), "ckpt_dir": str(tmp_path)}
    workflow = ConfigWorkflow(configs(root, method), logging_file=False, **TINY, **data, **folders)
    workflow.initialize()
    assert workflow.check_properties() == []


def test_the_papers_stand_in_the_configs(root):
    cyclegan, fastcut = (content_of(root, method) for method in METHODS)
    for content in (cyclegan, fastcut):
        assert (content["learning_rate"], content["batch_size"], content["max_epochs"]) == (2e-4, 1, 200)
        assert content["optimizer"]["betas"] == content["discriminator_optimizer"]["betas"] == [0.5, 0.999]
        assert {one["stepped"] for one in content["train"]["schedules"].values()} == {"end"}
    assert (cyclegan["lambda_real"], cyclegan["lambda_drr"]) == (10, 10)
    assert {pool["size"] for pool in cyclegan["train"]["trainer"]["pools"].values()} == {50}
    assert cyclegan["structure_weight"] == 0
    assert (fastcut["content_weight"], fastcut["temperature"], fastcut["patches"]) == (10, 0.07, 256)
    assert fastcut["network_def"]["antialias"] is True
    for size, blocks in ((128, 6), (256, 9)):
        parser = ConfigParser()
        parser.read_config(configs(root, "cyclegan"))
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
        files = str(configs(root, method))
        return bundle_verb_of_any_size("run", "training", "--config_file", files, cwd=tmp_path, **common | options)

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    done = [run(whole, max_epochs=2), run(stopped, max_epochs=1), run(stopped, max_epochs=2, resume="latest")]
    assert [step.returncode for step in done] == [0, 0, 0], done[0].stderr[-2000:]
    assert "4 of 4 films are used" in done[0].stderr + done[0].stdout
    expected = torch.load(whole / "models" / "real_to_drr.pt", weights_only=True)
    found = torch.load(stopped / "models" / "real_to_drr.pt", weights_only=True)
    assert not [name for name in expected if not torch.equal(found[name], expected[name])]
    record = json.loads((whole / "models" / "real_to_drr.json").read_text())
    assert (record["method"], record["translator"], record["data"]["films"]) == (method, "real_to_drr", 4)
    assert len(record["film_keys"]) == 4
    assert len(record["patients"]) == 3
    network = build_network(record["network"]["name"], **record["network"]["arguments"])
    network.load_state_dict(found)
    assert (whole / "models" / "drr_to_real.pt").exists() == (method == "cyclegan")
    lines = (whole / "losses.csv").read_text().splitlines()
    assert len(lines) == 3
    assert all(np.isfinite(float(value)) for value in lines[1].split(",")[1:-1])
    assert (whole / "translations.png").exists()

    swapped = run(tmp_path / "bad", film_dir=tiny_cohort)
    assert swapped.returncode != 0
    assert swapped.stderr.strip().splitlines()[-1].startswith(f"Error: {tiny_cohort}: holds CTs and no films; exchange")


@pytest.mark.slow
def test_translators_are_measured_by_the_command(root, tiny_cohort, tmp_path, all_pa):
    acquisition = Acquisition(grid=VolumeGrid(64, 5.0), detector_shape=64)
    for name in ("real_to_drr", "drr_to_real"):
        network = build_network("resnet_6blocks", channels=4, blocks=1)
        torch.save(network.state_dict(), tmp_path / f"{name}.pt")
        write_record(tmp_path / f"{name}.pt", make_record(network, acquisition, method="cyclegan", translator=name))

    def run(out, **options):
        options = {"image_size": 64, "folds": "train,validation", "views": "['pa']", "output_dir": out, **options}
        flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        start = [sys.executable, "-m", "reports", "style", str(all_pa), str(tiny_cohort)]
        return subprocess.run([*start, *flags], cwd=root, capture_output=True, text=True)

    translator = {"cyclegan": tmp_path / "real_to_drr.pt"}
    done = run(tmp_path / "out", **translator)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "pa_to_drr.png",
        "pa_to_real.png",
        "style.csv",
        "style.md",
    ]
    page = (tmp_path / "out" / "style.md").read_text()
    assert page in done.stdout
    assert "- films: 4" in page
    assert "- KID and FID by: 96 random features, seed 0" in page
    lines = (tmp_path / "out" / "style.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["pa", "to_drr", "none"],
        ["pa", "to_drr", "histogram"],
        ["pa", "to_drr", "cyclegan"],
        ["pa", "to_real", "none"],
        ["pa", "to_real", "cyclegan"],
    ]
    other = run(tmp_path / "other", overlays="chest", **translator)
    assert other.returncode != 0
    assert "geometry 'x2ct' instead of 'chest'" in other.stderr.splitlines()[-1]
    assert not (tmp_path / "other" / "style.csv").exists()
    larger = run(tmp_path / "larger", radiograph_size=128, **translator)
    assert "was trained on films of 64 pixels, these have 128" in larger.stderr.splitlines()[-1]
    unknown = run(tmp_path / "unknown", embedding=tmp_path / "none.pth")
    assert unknown.returncode != 0
    assert "none.pth: holds no weights of a DenseNet-121" in unknown.stderr.splitlines()[-1]
    many = run(tmp_path / "many", overlays="augmented", renderings=2)
    assert many.returncode == 0, many.stderr[-2000:]
    assert "- renderings of each CT: 2" in many.stdout


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_a_translator(root, tiny_cohort, film_dir, tmp_path, method):
    """That they equal one is shown in tests/engines; here the overlay runs, and one of them writes."""
    files = configs(root, method, f"multi_gpu_{method}")
    options = {
        "film_dir": film_dir,
        "dataset_dir": tiny_cohort,
        "output_dir": tmp_path,
        "ckpt_dir": tmp_path / "models",
    }
    options |= {"max_epochs": 1, "constant_epochs": 1, **TINY}
    flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*start, "-m", "monai.bundle", "run", "training", "--config_file", str(files), *flags],
        **{"cwd": root, "capture_output": True, "text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    names = {"real_to_drr.pt"} | ({"drr_to_real.pt"} if method == "cyclegan" else set())
    assert {path.name for path in (tmp_path / "models").glob("*_to_*.pt")} == names
    assert not [name for name in torch.load(tmp_path / "models" / "real_to_drr.pt") if name.startswith("module.")]
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == 2
    assert len(list((tmp_path / "tensorboard").rglob("events*"))) == 2  # losses and panels
