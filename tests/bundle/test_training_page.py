"""The commands of docs/training.md name files and keys that there are."""

import ast
import inspect
import json
import re
import shlex
import subprocess

import pytest
import yaml
from monai.fl.client import MonaiAlgo

from engines import Adversary, X2CTTrainer


@pytest.fixture(scope="module")
def blocks(root):
    """Kind -> the page's blocks of it; commands have none."""
    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    found = {}
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        found.setdefault(kind, []).append(block)
    return found


def jobs_of(blocks):
    """The words of every call of `monai.bundle run`, from the verb on."""
    manifests = [document for block in blocks["yaml"] for document in yaml.safe_load_all(block)]
    for manifest in manifests:
        if manifest["kind"] == "Job":
            [container] = manifest["spec"]["template"]["spec"]["containers"]
            words = [part for word in container["command"] for part in word.split("=", 1)]
            yield words[words.index("run") + 1 :]
    for block in blocks[""] + blocks["bash"]:
        for line in block.replace("\\\n", " ").splitlines():
            if "monai.bundle run" in line:
                words = shlex.split(line.removesuffix("&"))
                yield words[words.index("run") + 1 :]


def holds(config, key):
    """Whether a config has a key, which may lie further down, as `train::ema::decay` does."""
    for part in key.split("::"):
        if isinstance(config, list) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        elif isinstance(config, dict) and part in config:
            config = config[part]
        else:
            return False
    return True


def test_the_jobs_name_configs_and_keys_that_there_are(root, blocks):
    jobs = list(jobs_of(blocks))
    assert {verb for verb, *_ in jobs} == {"training", "evaluating"}
    assert sum("multi_gpu" in " ".join(words) for words in jobs) == 4
    for verb, *words in jobs:
        options = dict(zip(words[::2], words[1::2], strict=True))
        files = options.pop("--config_file")
        config = {}
        for file in ast.literal_eval(files) if files.startswith("[") else [files]:
            config |= json.loads((root / file).read_text())
        assert verb in config
        assert {option.removeprefix("--") for option in options} <= config.keys()


def test_the_batch_script_is_one(blocks):
    [script] = blocks["bash"]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_pods_find_the_first_of_them(blocks):
    service, job = yaml.safe_load_all(blocks["yaml"][0])
    pod = job["spec"]["template"]["spec"]
    assert service["spec"]["selector"]["job-name"] == job["metadata"]["name"]
    assert service["metadata"]["name"] == pod["subdomain"]
    [container] = pod["containers"]
    assert f"--rdzv_endpoint={job['metadata']['name']}-0.{pod['subdomain']}:29500" in container["command"]
    assert f"--nnodes={job['spec']['completions']}" in container["command"]
    assert f"--nproc_per_node={container['resources']['limits']['nvidia.com/gpu']}" in container["command"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_site_of_a_federation_is_given_arguments_that_there_are(root, blocks):
    [example] = [block for block in blocks["python"] if "MonaiAlgo(" in block]
    calls = [node for node in ast.walk(ast.parse(example)) if isinstance(node, ast.Call)]
    [call] = [node for node in calls if ast.unparse(node.func) == "MonaiAlgo"]
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    assert given.keys() <= inspect.signature(MonaiAlgo).parameters.keys()
    for job, options in (("train", given["train_kwargs"]), ("evaluate", given["eval_kwargs"])):
        config = json.loads((root / "bundle" / "configs" / f"{job}.json").read_text())
        assert not [key for key in options if not holds(config, key)]


def test_the_keys_of_the_page_are_in_train_json(root):
    """Those with `::`, and those that a command sets."""
    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    config = json.loads((root / "bundle" / "configs" / "train.json").read_text())
    config["network"] = json.loads((root / "bundle" / "configs" / "multi_gpu_train.json").read_text())["network"]
    inline = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    keys = {key for key in re.findall(r"`(?:--)?(\w+(?:::\w+)+)", inline) if key != "a::b"}
    assert {"train::ema::decay", "adversary::weight", "train::trainer::recompute_levels"} <= keys
    optional = {"train::trainer::channels_last", "train::trainer::compile", "adversary::conditional"}
    of_networks = {"discriminator_def::in_channels", "network_def::refinements"}
    assert not [key for key in keys - optional - of_networks if not holds(config, key)]
    for key in optional:
        owner = {"train": X2CTTrainer, "adversary": Adversary}[key.split("::")[0]]
        assert key.split("::")[-1] in inspect.signature(owner).parameters
