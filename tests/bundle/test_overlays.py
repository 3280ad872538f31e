"""The paper's other models: overlays on the three jobs, run tiny, and what their metadata promises."""

import ast
import json
import re
import shlex

import nibabel
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, verify_metadata, verify_net_in_out
from monai.data import load_net_with_metadata

from networks import build_network
from tests.bundle.conftest import TINY_RAYLIFT

MODELS = ("x2ct_cnn", "single_view", "cnn2d", "raylift")

AROUND_RAYLIFT = {"train": ("augmented", "film_randomised", "more_views")}
"""Job -> overlays that are added to it where RayLift is run, each time with chest.json under it."""

SMALL = {"image_size": 64, "batch_size": 2, "max_epochs": 1, "discriminator_channels": 4}


def small_network(model, tiny_overrides):
    """Overrides that make a model small; the 2DCNN has no widths to set."""
    if model == "raylift":
        return dict(TINY_RAYLIFT)
    return {} if model == "cnn2d" else dict(tiny_overrides)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_trained_evaluated_and_used(
    root, tiny_cohort, tiny_overrides, bundle_verb_of_any_size, tmp_path, model
):
    common = {"bundle_root": root / "bundle", "ckpt_dir": tmp_path / "models", "output_dir": tmp_path / "out"}
    common |= SMALL | small_network(model, tiny_overrides)

    def run(verb, name, **options):
        parts = [name, "chest", model, *AROUND_RAYLIFT.get(name, ())] if model == "raylift" else [name, model]
        configs = str([str(root / "bundle" / "configs" / f"{part}.json") for part in parts])
        done = bundle_verb_of_any_size("run", verb, "--config_file", configs, cwd=tmp_path, **common, **options)
        assert done.returncode == 0, done.stderr[-2000:]

    run("training", "train", dataset_dir=tiny_cohort)
    record = json.loads((tmp_path / "models" / "model.json").read_text())
    expected = {"x2ct_cnn": "x2ct_biplanar", "single_view": "x2ct_single_view"}.get(model, model)
    assert record["network"]["name"] == expected
    terms = {"x2ct_cnn": "reconstruction,projection", "cnn2d": "reconstruction", "raylift": "reconstruction"}
    header = (tmp_path / "out" / "losses.csv").read_text().splitlines()[0]
    columns = terms.get(model, "reconstruction,projection,adversarial,discriminator")
    assert header == f"epoch,loss,{columns},validation"

    asked = {"consistency": "given", "uncertainty": True} if model == "raylift" else {}
    run("evaluating", "evaluate", dataset_dir=tiny_cohort, **asked)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    measured = {"prediction", "mean_volume", "shuffled_input"} | ({"without_update"} if asked else set())
    assert set(summary["psnr_db"]) == measured
    assert (tmp_path / "out" / "calibration.csv").exists() == (model == "raylift")

    case = summary["held_out_cases"][0]
    radiographs = {view: tmp_path / "out" / "radiographs" / f"{case}_{view}.png" for view in ("pa", "lateral")}
    assert radiographs["lateral"].exists() == (model in ("x2ct_cnn", "raylift"))
    given = {view: path for view, path in radiographs.items() if path.exists()}
    run("inferring", "inference", case="from_views", **given, **asked)
    assert nibabel.load(tmp_path / "out" / "from_views.nii.gz").shape == (64, 64, 64)
    if model == "raylift":
        assert nibabel.load(tmp_path / "out" / "from_views_expected_error.nii.gz").shape == (64, 64, 64)
        run("inferring", "inference", case="from_one", pa=radiographs["pa"], views="['pa']")
        assert nibabel.load(tmp_path / "out" / "from_one.nii.gz").shape == (64, 64, 64)


@pytest.mark.parametrize("model", MODELS)
def test_a_model_takes_and_gives_what_its_metadata_says(root, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    configs = root / "bundle" / "configs"
    meta = [str(configs / "metadata.json"), str(configs / f"metadata_{model}.json")]
    verify_metadata(meta_file=meta, filepath=str(root / "tests" / "bundle" / "metadata_schema.json"))
    parser = ConfigParser()
    parser.read_meta(meta)
    formats = parser["_meta_"]["network_data_format"]
    files = [str(configs / f"{part}.json") for part in ("inference", model)]
    options = {"bundle_root": str(root / "bundle")}
    verify_net_in_out("network_def", meta_file=meta, config_file=files, device="cpu", **options)
    parser.read_config(files)
    parser.update(options)
    # MONAI looks at channels and types alone; sizes are held here, at no cost.
    with torch.device("meta"):
        network = parser.get_parsed_content("network_def")
        taken = formats["inputs"]["image"]
        image = torch.empty(1, taken["num_channels"], *taken["spatial_shape"])
        assert list(network(image).shape[2:]) == formats["outputs"]["pred"]["spatial_shape"]


def test_the_model_card_exports_a_model_of_an_overlay(root, tmp_path, monkeypatch, tiny_overrides):
    monkeypatch.chdir(tmp_path)
    card = (root / "bundle" / "docs" / "README.md").read_text(encoding="utf-8")
    [block] = [
        block for block in re.findall(r"^```\n(.*?)^```", card, re.DOTALL | re.MULTILINE) if "load_config" in block
    ]
    words = shlex.split(block.replace("bundle/configs", str(root / "bundle" / "configs")).replace("\\\n", " "))
    assert words[:2] == ["python", "-c"]
    assert words[3:7] == ["python", "-m", "monai.bundle", "ckpt_export"]
    exec(words[2])
    options = {key.removeprefix("--"): value for key, value in zip(words[7::2], words[8::2], strict=True)}
    options["config_file"] = ast.literal_eval(options["config_file"])
    options |= {"ckpt_file": str(tmp_path / "model.pt"), "bundle_root": str(root / "bundle"), **tiny_overrides}
    widths = {key.removeprefix("network_def::"): value for key, value in tiny_overrides.items()}
    torch.save(build_network("x2ct_single_view", **widths).state_dict(), tmp_path / "model.pt")
    ckpt_export(**options)
    _, metadata, _ = load_net_with_metadata(str(tmp_path / "model.ts"))
    assert metadata["network_data_format"]["inputs"]["image"]["num_channels"] == 1
    assert metadata["network_data_format"]["outputs"]["pred"]["spatial_shape"] == [128, 128, 128]
    assert metadata["name"].endswith("single view")
