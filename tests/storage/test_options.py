import json
import os
import sys

import fire
import pytest
from monai.bundle import ConfigParser, ConfigWorkflow

from conventions import input_error_in
from storage.options import TEXT_OPTIONS, keep_text, parse_flags

BASE = {
    "imports": ["$import os"],
    "bundle_root": "$'.'",
    "dataset_dir": None,
    "output_dir": "out",
    "ckpt_dir": "$os.path.join(@bundle_root, 'models')",
    "case": "a",
    "max_epochs": 3,
    "seed": 0,
    "trainer": {"max_epochs": "@max_epochs"},
    "initialize": [{"_target_": "storage.read_options"}],
    "run": ["$@output_dir + '/' + @case"],
}


@pytest.fixture
def configs(tmp_path):
    """A folder with a job and an overlay."""
    folder = tmp_path / "bundle" / "configs"
    folder.mkdir(parents=True)
    base, overlay = folder / "train.json", folder / "overlay.json"
    base.write_text(json.dumps(BASE))
    overlay.write_text(json.dumps({"_desc_": "x", "seed": "@steps", "steps": 1, "finalize": []}))
    return base, overlay


def start(files, **options):
    workflow = ConfigWorkflow(config_file=[str(file) for file in files], logging_file=False, **options)
    workflow.initialize()
    return workflow


def message(files, **options):
    with pytest.raises(RuntimeError) as caught:
        start(files, **options)
    return input_error_in(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"max_epochs": 5}, id="of-the-config"),
        pytest.param({"trainer::precision": "bf16"}, id="nested"),
        pytest.param({"trainer#precision": "bf16"}, id="nested-with-hash"),
        pytest.param({"seed": 3}, id="in-place-of-an-overlay's"),
        pytest.param({"run_name": "site_1_20261130"}, id="of-MonaiAlgo"),
        pytest.param({"workflow_type": "infer", "init_id": "initialize"}, id="of-monai"),
    ],
)
def test_keys_that_something_reads_pass(configs, options):
    start(configs, **options)


def test_an_overlay_may_add_to_a_key_of_the_config(configs):
    more = configs[0].with_name("more.json")
    more.write_text(json.dumps({"+trainer": {"handlers": []}}))
    assert start([configs[0], more]).parser["trainer"]["handlers"] == []


def test_a_misspelt_key_is_answered_with_the_right_one(configs):
    assert message(configs[:1], max_epoch=5) == "nothing reads the key 'max_epoch'; did you mean 'max_epochs'?"


def test_a_key_that_resembles_none_names_the_configs(configs):
    assert message(configs, zzz=1) == (
        f"nothing reads the key 'zzz'; the configs in {configs[0].parent} hold the keys to choose from"
    )


def test_keys_of_the_other_jobs_pass_since_options_are_given_to_all(configs):
    (configs[0].with_name("evaluate.json")).write_text(json.dumps({"fold": "test", "run": []}))
    start(configs, fold="train")
    configs[0].with_name("evaluate.json").unlink()
    assert "nothing reads the key 'fold'" in message(configs, fold="train")


def test_a_name_or_path_that_is_no_text_is_refused(configs):
    assert message(configs, dataset_dir=555) == "dataset_dir must be text, got 555; give a name or a path"
    start(configs, dataset_dir=configs[0].parent)  # a path object


def test_the_root_is_above_the_configs_wherever_the_program_runs(configs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path.parent)
    for options, root in (({}, str(configs[0].parent.parent)), ({"bundle_root": "/elsewhere"}, "/elsewhere")):
        parser = start(configs, **options).parser
        assert parser["bundle_root"] == parser.get_parsed_content("bundle_root") == root
        assert parser.get_parsed_content("ckpt_dir") == os.path.join(root, "models")


def test_a_host_program_keeps_its_hook_and_its_path(configs):
    hook, path = sys.excepthook, list(sys.path)
    start(configs)
    assert sys.excepthook is hook
    assert sys.path == path


FLAGS = ["--case 0000_0000", "--case=1e5", "--output-dir 2024_01", "--case --max_epochs 5", "-case x", "run --seed -3"]


@pytest.mark.parametrize("line", FLAGS)
def test_flags_are_those_that_fire_finds(line):
    found = {}
    fire.Fire(lambda *_, **options: found.update(options), command=line.split())
    typed = parse_flags(line.split())
    assert typed.keys() == found.keys()
    for name, value in typed.items():
        assert found[name] == (True if value is None else fire.parser.DefaultParseValue(value))


def test_text_is_restored_while_the_config_is_evaluated():
    """As on the command line, where MONAI has made numbers of the words before the config is read."""
    parser = ConfigParser({**BASE, "output_dir": 202401, "case": ("Doe", "John"), "dataset_dir": None})
    assert parser.get_parsed_content("ckpt_dir") == "./models"
    assert parser.get_parsed_content("output_dir") == 202401
    keep_text(
        parser,
        parse_flags(["--output_dir", "2024_01", "--case", "Doe,John", "--dataset_dir", "None", "--max_epochs", "1_0"]),
    )
    assert parser.get_parsed_content("run") == ["2024_01/Doe,John"]
    assert parser.get_parsed_content("dataset_dir") is None
    assert parser["max_epochs"] == 3


def test_every_option_that_holds_a_path_stays_text(root):
    named = ("_dir", "checkpoint", "_model", "_root")
    for file in (root / "bundle" / "configs").glob("[!m]*.json"):
        for key, value in json.loads(file.read_text()).items():
            if key.endswith(named) and "::" not in key and not isinstance(value, dict):
                assert key in TEXT_OPTIONS, f"{file}: {key}"
