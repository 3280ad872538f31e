"""The starter weights, where a model is named `starter` or none is named."""

import json
import shutil

import pytest
from monai.bundle import ConfigWorkflow

from conventions import InputError, input_error_in
from export import archive, find_model, starter
from export.publish import FIGURES
from networks import read_record


@pytest.fixture
def bundle(root, tmp_path, monkeypatch):
    """A copy of the bundle with the starter weights and no trained model, which the packages take for theirs."""
    shutil.copytree(root / "bundle" / "configs", tmp_path / "bundle" / "configs")
    (tmp_path / "bundle" / "models").mkdir()
    for suffix in (".pt", ".json"):
        shutil.copy(root / "bundle" / "models" / f"starter{suffix}", tmp_path / "bundle" / "models")
    monkeypatch.setattr(starter, "bundle_folder", lambda: tmp_path / "bundle")
    return tmp_path / "bundle"


def config_of(bundle, job="inference", overlays=(), **options):
    """The config of a job after its first steps, with the packages of the repository."""
    files = [str(bundle / "configs" / f"{name}.json") for name in (job, *overlays)]
    kind = "inference" if job == "inference" else "infer"
    workflow = ConfigWorkflow(files, workflow_type=kind, logging_file=False, bundle_root=str(bundle), **options)
    workflow.initialize()
    return workflow.parser


def assert_fitted(parser, bundle):
    record = read_record(bundle / "models" / "starter.pt")
    assert parser["checkpoint"] == str(bundle / "models" / "starter.pt")
    assert parser.get_parsed_content("acquisition").record() == record["acquisition"]
    assert parser.get_parsed_content("network_def").spec == record["network"]
    parser.get_parsed_content("model")


def assert_plain(parser, checkpoint):
    assert (parser["geometry"], parser["network_def"]["name"]) == ("x2ct", "x2ct_biplanar")
    assert parser.get_parsed_content("checkpoint") == str(checkpoint)


def test_inferring_without_a_model_takes_it_and_says_so(bundle, caplog):
    assert_fitted(config_of(bundle), bundle)
    assert "no model was named: the starter weights" in caplog.text
    assert "not for medical use" in caplog.text


@pytest.mark.parametrize("job", ["inference", "evaluate"])
def test_it_is_named(bundle, job, caplog):
    given = {"dataset_dir": str(bundle)} if job == "evaluate" else {}
    parser = config_of(bundle, job, checkpoint="starter", consistency="auto", **given)
    if job == "inference":
        assert_fitted(parser, bundle)
    else:  # whose model needs a cohort
        assert (parser["geometry"], parser["anchor"], parser["network_def"]["name"]) == ("chest", "lungs", "raylift")
    assert parser["consistency"] == "auto"
    assert "the starter weights" in caplog.text
    assert "no model was named" not in caplog.text


def test_a_trained_or_named_model_goes_first(bundle, tmp_path):
    assert_plain(config_of(bundle, checkpoint="mine.pt"), "mine.pt")
    assert_plain(config_of(bundle, ckpt_dir=str(tmp_path)), tmp_path / "model.pt")
    assert_plain(config_of(bundle, "evaluate", dataset_dir=str(bundle)), bundle / "models" / "model.pt")
    (bundle / "models" / "model.pt").touch()
    assert_plain(config_of(bundle), bundle / "models" / "model.pt")


def test_a_config_of_another_model_misses_its_own(bundle):
    parser = config_of(bundle, overlays=["single_view"])
    assert parser["network_def"]["name"] == "x2ct_single_view"
    assert parser.get_parsed_content("checkpoint") == str(bundle / "models" / "model.pt")


def test_what_contradicts_it_is_refused_by_name(bundle):
    parser = config_of(bundle, checkpoint="starter", image_size=64)
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("model")
    assert "starter.pt: was trained with network" in str(input_error_in(caught.value))


def test_where_there_is_none_a_sentence_says_so(bundle, tmp_path):
    for file in (bundle / "models").iterdir():
        file.unlink()
    with pytest.raises(RuntimeError) as caught:
        config_of(bundle, checkpoint="starter")
    assert "there are no starter weights here; name a model by --checkpoint" in str(input_error_in(caught.value))
    with pytest.raises(InputError, match="there are no starter weights here"):
        find_model()
    assert_plain(config_of(bundle), bundle / "models" / "model.pt")


def test_commands_find_a_model(bundle, tmp_path, caplog):
    assert find_model() == find_model("starter") == bundle / "models" / "starter.pt"
    assert caplog.text.count("no model was named") == 1
    (bundle / "models" / "model.pt").touch()
    assert find_model() == bundle / "models" / "model.pt"
    assert f"no model was named, so {bundle / 'models' / 'model.pt'} is used" in caplog.text
    assert find_model(tmp_path / "bundle" / "models" / "starter.pt") == find_model("starter")
    with pytest.raises(InputError, match=r"none\.pt: there is no such model"):
        find_model(tmp_path / "none.pt")


def test_a_bundle_is_made_of_it(tmp_path):
    made = archive.write_archive(tmp_path / "archive", find_model("starter"), ["chest", "raylift"])
    inference = json.loads((made / "configs" / "inference.json").read_text())
    assert (inference["geometry"], inference["anchor"], inference["network_def"]["name"]) == (
        "chest",
        "lungs",
        "raylift",
    )
    assert (made / "models" / "model.safetensors").is_file()


def test_the_record_on_file_states_figures_of_each_held_out_patient(root):
    about = read_record(root / "bundle" / "models" / "starter.pt")["about"]
    assert len(about["trained_on"]["cts"]) == 13
    assert sum(run["steps"] for run in about["runs"]) > 10_000
    assert len(about["validation"]["cases"]) == 5
    for predictions in about["validation"]["cases"].values():
        assert predictions["prediction"].keys() == set(FIGURES)
        assert predictions["prediction"]["psnr_db"] > predictions["mean_volume"]["psnr_db"] + 5
