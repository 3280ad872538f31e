import json

import pytest

from conventions import InputError
from storage.options import check_options

MONAI = "/somewhere/monai/bundle/__main__.py"


@pytest.fixture
def configs(tmp_path):
    base, overlay = tmp_path / "train.json", tmp_path / "overlay.json"
    base.write_text(json.dumps({"max_epochs": 3, "seed": 0, "trainer": {"max_epochs": "@max_epochs"}}))
    overlay.write_text(json.dumps({"_desc_": "x", "seed": "@join_processes", "join_processes": 1, "finalize": []}))
    return base, overlay


def command(configs, *options):
    files = str([str(file) for file in configs]) if len(configs) > 1 else str(configs[0])
    return [MONAI, "run", "training", "--config_file", files, *options]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--max_epochs", "5"), id="of-the-config"),
        pytest.param(("--max-epochs=5",), id="with-a-hyphen"),
        pytest.param(("--trainer::precision", "bf16"), id="nested"),
        pytest.param(("--trainer#precision=bf16",), id="nested-with-hash"),
        pytest.param(("--tracking", "mlflow", "--meta_file", "m.json"), id="of-monai"),
    ],
)
def test_keys_that_something_reads_pass(configs, options):
    check_options(command(configs, *options))


def test_an_overlay_may_add_to_a_key_of_the_config(configs, tmp_path):
    more, odd = tmp_path / "more.json", tmp_path / "odd.json"
    more.write_text(json.dumps({"+trainer::handlers": [{"_target_": "StatsHandler"}]}))
    check_options(command([configs[0], more]))
    odd.write_text(json.dumps({"+trainr::handlers": []}))
    with pytest.raises(InputError, match="nothing reads the key 'trainr'; did you mean 'trainer'"):
        check_options(command([configs[0], odd]))


def test_a_misspelt_option_is_answered_with_the_right_one(configs):
    with pytest.raises(InputError, match="nothing reads the key 'max_epoch'; did you mean 'max_epochs'"):
        check_options(command(configs[:1], "--max_epoch", "5"))


def test_a_key_that_resembles_none_names_the_config(configs):
    with pytest.raises(InputError, match=r"nothing reads the key 'zzz'; .*train\.json holds the keys"):
        check_options(command(configs[:1], "--zzz", "5"))


def test_a_misspelt_key_of_an_overlay_names_the_overlay(configs, tmp_path):
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps({"sed": 3}))
    with pytest.raises(InputError, match=r"odd\.json: nothing reads the key 'sed'; did you mean 'seed'"):
        check_options(command([configs[0], odd]))


def test_keys_of_the_other_jobs_pass_since_options_are_given_to_all(configs, tmp_path):
    (tmp_path / "evaluate.json").write_text(json.dumps({"fold": "test", "run": []}))
    shared = tmp_path / "shared.json"
    shared.write_text(json.dumps({"fold": "train"}))
    check_options(command([configs[0], shared], "--fold", "train"))
    (tmp_path / "evaluate.json").unlink()
    with pytest.raises(InputError, match="nothing reads the key 'fold'"):
        check_options(command(configs[:1], "--fold", "train"))


def test_other_programs_and_files_that_are_not_there_pass(configs):
    check_options(["/somewhere/drr/__main__.py", "--config_file", str(configs[0]), "--zzz", "1"])
    check_options([MONAI, "run", "--config_file", "missing.json", "--zzz", "1"])
    check_options([MONAI, "verify_metadata"])
