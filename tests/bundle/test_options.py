"""Options of the bundle: read as they were typed, known wherever they come from, and harmless in a host program."""

import json
import shutil
import subprocess
import sys

import pytest
from monai.bundle import create_workflow

from conventions import input_error_in


def last_line(done):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    return done.stderr.splitlines()[-1]


def test_names_and_paths_stay_as_they_were_typed(tiny_run, bundle_verb, demo_config, root, tmp_path):
    for view, name in (("pa", "1_0"), ("lateral", "0x1")):
        shutil.copy(next(tiny_run.out.glob(f"radiographs/*_{view}.png")), tmp_path / name)
    shutil.copytree(tiny_run.out / "models", tmp_path / "1e5")
    done = bundle_verb(
        "run", "inferring", cwd=tmp_path, config_file=demo_config("inference"), bundle_root=root / "bundle",
        workflow_type="inference", workflow_name="ConfigWorkflow",
        pa="1_0", lateral="0x1", case="0000_0000", ckpt_dir="1e5", output_dir="2024_01",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in tmp_path.iterdir()} == {"1_0", "0x1", "1e5", "2024_01"}
    assert (tmp_path / "2024_01" / "0000_0000.nii.gz").exists()


def test_a_flag_without_a_value_is_one_sentence(bundle_verb, demo_config, root, tmp_path):
    words = ["run", "training", "--output_dir"]
    done = bundle_verb(*words, cwd=tmp_path, config_file=demo_config("train"), bundle_root=root / "bundle")
    assert last_line(done) == "Error: output_dir must be text, got True; give a name or a path"


def test_a_forgotten_root_is_one_sentence(bundle_verb, demo_config, tmp_path):
    done = bundle_verb("run", "training", cwd=tmp_path, config_file=demo_config("train"))
    assert last_line(done) == (
        "Error: the packages are neither in . nor above it; give --bundle_root, the folder that holds configs"
    )
    assert not list(tmp_path.iterdir())


def test_a_misspelt_key_in_a_file_is_named(bundle_verb, demo_config, root, tmp_path):
    arguments, overlay = tmp_path / "arguments.json", tmp_path / "mine.json"
    common = {"bundle_root": str(root / "bundle"), "config_file": demo_config("train")}
    arguments.write_text(json.dumps({**common, "max_epoch": 1}))
    done = bundle_verb("run", "training", cwd=tmp_path, args_file=arguments)
    assert last_line(done) == f"Error: {arguments}: nothing reads the key 'max_epoch'; did you mean 'max_epochs'?"
    overlay.write_text(json.dumps({"sed": 1}))
    common["config_file"] = [*common["config_file"], str(overlay)]
    done = bundle_verb("run", "training", cwd=tmp_path, **common)
    assert last_line(done) == f"Error: {overlay}: nothing reads the key 'sed'; did you mean 'seed'?"
    done = bundle_verb("run", "training", cwd=tmp_path, bundle_root=root / "bundle",
                       config_file=root / "bundle" / "configs" / "train.json", steps=1)  # fmt: skip
    assert "Error: the command: nothing reads the key 'steps'" in last_line(done)  # without demo.json, which does


@pytest.mark.parametrize("name", ["train", "evaluate", "inference", "train_cyclegan"])
def test_python_may_start_a_workflow_anywhere_and_misspell_nothing(root, name, demo_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = demo_config(name) if name != "train_cyclegan" else str(root / "bundle" / "configs" / f"{name}.json")
    kind = "train" if name.startswith("train") else "infer"
    with pytest.raises(RuntimeError) as caught:
        create_workflow(config_file=files, workflow_type=kind, logging_file=False, geometri="chest")
    assert input_error_in(caught.value) == "nothing reads the key 'geometri'; did you mean 'geometry'?"
    right = create_workflow(config_file=files, workflow_type=kind, logging_file=False, geometry="chest", max_epochs=1)
    assert right.parser.get_parsed_content("ckpt_dir").startswith(str(root / "bundle" / "models"))


HOST = """
import json, sys
from pathlib import Path
sys.path = [p for p in sys.path if not (Path(p) / "storage" / "options.py").exists()]
from monai.bundle import ConfigWorkflow, create_workflow, load
hook, path = sys.excepthook, list(sys.path)
asked = json.loads(sys.argv[1])
for config_file in asked["configs"]:
    create_workflow(config_file=config_file, workflow_type="infer", bundle_root=asked["root"], logging_file=False)
    ConfigWorkflow(config_file=config_file, workflow_type="infer", logging_file=False).initialize()
network = load(**asked["load"])
print(json.dumps([sys.excepthook is hook, [p for p in sys.path if p not in path], len(sys.path) - len(path)]))
"""


def test_a_host_program_keeps_its_hook_and_gets_one_more_folder(tiny_run, tiny_options, demo_config, root):
    load = {"name": "bundle", "bundle_dir": str(root), "model_file": str(tiny_run.out / "models" / "model.pt")}
    load |= {"workflow_type": "inference", "device": "cpu", "net_override": tiny_options}
    configs = [demo_config(name) for name in ("evaluate", "inference")]
    asked = json.dumps({"configs": configs, "root": str(root / "bundle"), "load": load})
    done = subprocess.run([sys.executable, "-c", HOST, asked], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [True, [str(root)], 1]
