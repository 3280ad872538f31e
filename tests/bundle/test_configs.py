"""What MONAI, the model zoo and MONAI Label ask of a bundle."""

import json
import re

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow, ckpt_export, verify_metadata, verify_net_in_out
from monai.data import MetaTensor
from monai.transforms import Compose

from conventions import HU_WINDOW, Keys
from drr import PRESETS, VolumeGrid
from export import write_png16
from tests.bundle.config_style import JOBS as SIZED
from tests.bundle.config_style import dumps, size_of
from tests.readers.radiographs.film_files import planes_in_nifti

JOBS = {"train": "train", "evaluate": "infer", "inference": "infer"}


def read(root, name):
    return json.loads((root / "bundle" / "configs" / f"{name}.json").read_text())


def test_every_config_is_indented_json_with_a_description(root):
    for path in (root / "bundle" / "configs").glob("*.json"):
        text = path.read_text()
        assert text == dumps(json.loads(text)) + "\n", f"{path}: run tests/bundle/config_style.py --format"
        if not path.name.startswith("metadata"):
            assert "_desc_" in json.loads(text), path


@pytest.mark.parametrize("name", JOBS)
def test_keys_that_a_user_sets_are_at_the_top(root, name):
    config = read(root, name)
    assert {"bundle_root", "dataset_dir", "output_dir", "ckpt_dir", "geometry", "curve", "film_style", "device"} <= set(
        config
    )
    verb = {"train": "training", "evaluate": "evaluating", "inference": "inferring"}[name]
    assert config["run"] == f"%{verb}"
    assert config[verb][0] == "@start"


@pytest.mark.parametrize("name", JOBS)
def test_our_code_is_reached_by_target_alone_and_from_anywhere(root, name):
    packages = {path.parent.name for path in root.glob("*/__init__.py")}

    def walk(node):
        if isinstance(node, dict):
            if str(node.get("_target_", "")).split(".")[0] in packages:
                assert node["_requires_"] == "@repo_path", node
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    config = read(root, name)
    walk(config)
    assert config["imports"] == ["$import os", "$import sys"]


def test_no_target_is_named_like_its_module(root):
    """MONAI looks targets up by pydoc, which on Python 3.12 finds the module and not what has its name."""
    for file in sorted((root / "bundle" / "configs").glob("*.json")):
        for target in re.findall(r'"_target_": "([a-z_]+)\.(\w+)"', file.read_text()):
            assert not (root / target[0] / f"{target[1]}.py").exists(), f"{file.name}: {'.'.join(target)}"


def test_the_paper_stands_in_train_json(root):
    config = read(root, "train")
    assert (config["geometry"], config["curve"], config["film_style"]) == ("x2ct", "plastimatch", "x2ct")
    assert tuple(config["hu_window"]) == HU_WINDOW
    assert (config["image_size"], config["cube_mm"], config["max_epochs"]) == (128, 320.0, 100)
    assert config["learning_rate"] == 2e-4
    assert config["optimizer"]["betas"] == config["adversary"]["optimizer"]["betas"] == [0.5, 0.99]
    assert {name: term["weight"] for name, term in config["loss"]["terms"].items()} == {
        "reconstruction": 10.0,
        "projection": 10.0,
    }
    assert config["adversary"]["weight"] == 0.1
    chest = read(root, "chest")
    assert (chest["geometry"], chest["curve"], chest["film_style"]) == ("chest", "water", "linear")
    assert chest["geometry"] in PRESETS
    assert chest["anchor"] == "lungs"  # films are laid by their lungs


def test_jobs_agree_on_what_they_share(root):
    """A key that several jobs have means the same in all of them, but for where a job writes and how long it runs."""
    configs = {name: read(root, name) for name in (*JOBS, "train_cyclegan")}
    built = configs["inference"]["network_def"]  # for weights that are given, so it is checked against their record
    assert (built.pop("checkpoint"), built["_target_"]) == ("@checkpoint", "networks.network_for")
    built["_target_"] = "networks.build_network"
    own = {"_desc_", "imports", "output_dir", "ckpt_dir", "dataset_dir", "manifest", "start", "train", "run", "dataset"}
    own |= {"handlers", "evaluator", "dataloader", "postprocessing", "preprocessing", "model", "optimizer"}
    own |= {"initialize"}
    of_translators = {"max_epochs", "batch_size", "network_def", "discriminator_def", "training", "acquisition"}
    for name, config in configs.items():
        for other, second in configs.items():
            different = own | (of_translators if "train_cyclegan" in (name, other) else set())
            for key in (config.keys() & second.keys()) - different:
                assert config[key] == second[key], (name, other, key)
    translators = dict(configs["train_cyclegan"]["acquisition"])
    assert translators.pop("detector_shape") == "@radiograph_size"
    assert translators.items() <= configs["train"]["acquisition"].items()


def test_configs_stay_readable():
    limits = {"train": (330, 45, 25), "evaluate": (228, 51, 25)}
    for name, limit in limits.items():
        assert all(size <= most for size, most in zip(size_of(name), limit, strict=True)), (name, size_of(name))
    assert sum(size_of(name)[0] for name in SIZED) <= 1300


@pytest.mark.parametrize(("name", "kind"), [*JOBS.items(), ("inference without films", "infer")])
def test_no_property_is_missing(root, name, kind, demo_config, tiny_cohort, tiny_overrides, tmp_path):
    data = {"pa": "a.png", "lateral": "b.png"} if name == "inference" else {"dataset_dir": str(tiny_cohort)}
    if name == "inference without films":
        name, data = "inference", {}
    workflow = ConfigWorkflow(
        config_file=demo_config(name),
        workflow_type=kind,
        logging_file=False,
        bundle_root=str(root / "bundle"),
        **data,
        output_dir=str(tmp_path),
        ckpt_dir=str(tmp_path),
        **tiny_overrides,
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_metadata_follows_the_schema(root):
    configs, schema = root / "bundle" / "configs", root / "tests" / "bundle" / "metadata_schema.json"
    verify_metadata(meta_file=str(configs / "metadata.json"), filepath=str(schema))
    verify_metadata(
        meta_file=[str(configs / "metadata.json"), str(configs / "metadata_demo.json")], filepath=str(schema)
    )
    broken = json.loads((configs / "metadata.json").read_text())
    del broken["task"]
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=broken, filepath=str(schema))


@pytest.mark.parametrize("name", JOBS)
def test_network_takes_and_gives_what_the_metadata_says(root, name, demo_config, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configs = root / "bundle" / "configs"
    meta = [str(configs / "metadata.json"), str(configs / "metadata_demo.json")]
    options = {"bundle_root": str(root / "bundle"), **tiny_overrides}
    verify_net_in_out("network_def", meta_file=meta, config_file=demo_config(name), device="cpu", **options)
    # MONAI looks at channels and types alone; the spatial shapes are checked here.
    parser = ConfigParser()
    parser.read_config(demo_config(name))
    parser.read_meta(meta)
    parser.update(options)
    formats = parser["_meta_"]["network_data_format"]
    network = parser.get_parsed_content("network_def")
    image = torch.rand(1, 2, *formats["inputs"]["image"]["spatial_shape"])
    assert list(network(image).shape[2:]) == formats["outputs"]["pred"]["spatial_shape"]


def test_exported_torchscript_gives_the_same(root, demo_config, tiny_run, tiny_overrides, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ckpt_export(
        "network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tiny_run.out / "models" / "model.pt"),
        meta_file=str(root / "bundle" / "configs" / "metadata.json"),
        config_file=demo_config("inference"),
        bundle_root=str(root / "bundle"),
        **tiny_overrides,
    )
    scripted = torch.jit.load(str(tmp_path / "model.ts")).eval()
    parser = ConfigParser()
    parser.read_config(demo_config("inference"))
    parser.update({"bundle_root": str(root / "bundle"), **tiny_overrides})
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(tiny_run.out / "models" / "model.pt", weights_only=True))
    image = torch.rand(1, 2, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(scripted(image), network.eval()(image), rtol=0, atol=1e-4)


def test_verify_net_in_out_finds_the_network_from_an_empty_folder(root, bundle_verb, demo_config, tmp_path):
    done = bundle_verb(
        "verify_net_in_out",
        "network_def",
        cwd=tmp_path,
        meta_file=str(root / "bundle" / "configs" / "metadata.json"),
        config_file=demo_config("inference"),
        bundle_root=root / "bundle",
        device="cpu",
        image_size=128,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def monai_label_item(tmp_path, kind):
    """What MONAI Label's BundleInferTask hands to `preprocessing`."""
    planes = np.random.default_rng(0).uniform(0, 1, (2, 64, 64)).astype(np.float32)
    request = {"model": "x2ct", "device": "cpu", "description": "", "image_path": str(tmp_path)}
    if kind == "list":
        paths = [str(tmp_path / f"{i}.png") for i in range(2)]
        for path, plane in zip(paths, planes, strict=True):
            write_png16(path, plane, {"geometry": "x2ct"})
        return {**request, "image": paths}, planes
    path = planes_in_nifti(tmp_path / "two.nii.gz", np.moveaxis(planes, 0, -1), "x2ct")
    return {**request, "image": str(path)}, planes


@pytest.mark.parametrize("kind", ["list", "two planes"])
def test_an_item_of_monai_label_passes(root, demo_config, tiny_run, tiny_overrides, tmp_path, kind):
    """As BundleInferTask does it: a section is a list of steps; a Compose is taken apart, all else iterated."""
    parser = ConfigParser()
    parser.read_config(demo_config("inference"))
    folders = {"bundle_root": str(root / "bundle"), "ckpt_dir": str(tiny_run.out / "models")}
    parser.update({**folders, "output_dir": str(tmp_path / "out"), **tiny_overrides})
    data, planes = monai_label_item(tmp_path, kind)
    steps = {}
    for section in ("preprocessing", "postprocessing"):
        found = parser.get_parsed_content(section)
        steps[section] = list(found.transforms if isinstance(found, Compose) else found)
    for step in steps["preprocessing"]:
        data = step(data)
    assert isinstance(data["image"], MetaTensor)
    np.testing.assert_allclose(data["image"].numpy(), planes, atol=1e-4)
    network = parser.get_parsed_content("network_def").eval()
    with torch.no_grad():
        data[Keys.PRED] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    for step in steps["postprocessing"]:
        data = step(data)
    grid = VolumeGrid((64, 64, 64), 5.0)
    np.testing.assert_allclose(data["pred"].affine.numpy(), grid.affine())
    assert tuple(data["image"].meta["spatial_shape"]) == grid.shape
    assert HU_WINDOW[0] <= float(data["pred"].min()) <= float(data["pred"].max()) <= HU_WINDOW[1]
    assert torch.equal(data["pred"], data["pred"].trunc())  # its writer cuts fractions off
    said = json.loads(json.dumps(data["result"]))
    assert said["synthetic"] is True
    assert "not a measurement" in said["statement"]
    assert said["model"]["network"]["name"] == "x2ct_biplanar"
    assert [film["view"] for film in said["radiographs"]] == ["pa", "lateral"]
    assert isinstance(said["doubts"], list)
