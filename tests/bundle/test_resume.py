"""The documented training command, killed and resumed, ends with the weights it would have had."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.bundle.conftest import CONFIGS, ROOT, TINY, TINY_RAYLIFT

EPOCHS = 3


def start(cohort, folder, workers, resume, **more):
    """The command, with shuffling, augmentation and dropout, in a process of its own."""
    files = [str(CONFIGS / f"{name}.json") for name in ("train", "chest", "demo", "augmented", "film_randomised")]
    options = {
        "dataset_dir": cohort,
        "output_dir": folder,
        "ckpt_dir": folder,
        "bundle_root": ROOT / "bundle",
        "max_epochs": EPOCHS,
        "num_workers": workers,
        "resume": resume,
        "discriminator_channels": 4,
        **TINY,
        **more,
    }
    flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(files), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def finish(process):
    printed, _ = process.communicate()
    assert process.returncode == 0, printed[-3000:]
    return printed


def models(folder):
    return {name: torch.load(folder / f"{name}.pt", weights_only=True) for name in ("model", "model_final")}


@pytest.fixture(scope="module")
def uninterrupted(tiny_cohort, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finish(start(tiny_cohort, folder, 0, "none"))
    return models(folder)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_to_the_same_weights(tiny_cohort, uninterrupted, tmp_path, workers):
    process = start(tiny_cohort, tmp_path, workers, "latest")
    deadline = time.monotonic() + 300
    while not (tmp_path / "resume_previous.pt").exists():  # two epochs are done
        assert process.poll() is None, process.stdout.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3 * (1 + workers))
    os.killpg(process.pid, signal.SIGKILL)  # its workers too
    process.wait()
    assert not (tmp_path / "model_final.pt").exists()
    printed = finish(start(tiny_cohort, tmp_path, workers, "latest"))
    assert "resuming after epoch" in printed
    for name, expected in uninterrupted.items():
        ours = models(tmp_path)[name]
        assert ours.keys() == expected.keys()
        assert all(torch.equal(ours[key], expected[key]) for key in expected), name
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == EPOCHS + 1


@pytest.mark.slow
def test_a_case_that_vanishes_is_named_and_the_last_epoch_is_kept(tiny_cohort, tmp_path):
    cohort, out = tmp_path / "cohort", tmp_path / "out"
    shutil.copytree(tiny_cohort, cohort)
    process = start(cohort, out, 0, "latest", max_epochs=60, cache_rate=0)
    while not (out / "resume.pt").exists():
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.1)
    manifest = json.loads((cohort / "manifest.json").read_text())
    gone = next(case["ct"] for case in manifest["cases"] if case["fold"] == "train")
    (cohort / gone).unlink()
    printed, _ = process.communicate()
    assert process.returncode == 1
    said = [line for line in printed.splitlines() if line.startswith("Error: ")]
    assert len(said) == 1, printed[-3000:]
    assert f"{gone}: there is no such file" in said[0]
    assert "Traceback" not in printed
    assert torch.load(out / "resume.pt", weights_only=True)["epoch"] >= 1


@pytest.mark.slow
def test_a_run_begins_with_the_weights_of_a_model_of_another_size(tiny_cohort, tmp_path):
    names = ("train", "chest", "raylift", "finetune")
    small = {**TINY_RAYLIFT, "image_size": 64, "max_epochs": 1}

    def run(configs, folder, **options):
        files = str([str(CONFIGS / f"{name}.json") for name in configs])
        options = {"dataset_dir": tiny_cohort, "output_dir": folder, "ckpt_dir": folder,
                   "bundle_root": ROOT / "bundle", **small, **options}  # fmt: skip
        flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", files, *flags]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    first, second = tmp_path / "first" / "model.pt", tmp_path / "second" / "model.pt"
    assert run(names[:3], first.parent, image_size=32).returncode == 0
    record = json.loads(first.with_suffix(".json").read_text())
    first.with_suffix(".json").write_text(json.dumps({**record, "patients": [*record["patients"], "0" * 16]}))

    refined = {"network_def::refinements": 1}
    done = run((*names, "starter_recipe"), second.parent, initial_model=first, learning_rate=0, **refined)
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = (torch.load(file, weights_only=True) for file in (second, first))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    found = json.loads(second.with_suffix(".json").read_text())
    arguments = found["network"]["arguments"]
    assert (arguments["image_size"], arguments["refinements"]) == (64, 1)
    assert {name.split(".")[0] for name in ours.keys() - theirs.keys()} == {"refining"}
    assert found["patients"] == sorted([*record["patients"], "0" * 16])
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    assert found["initial_model"] == {"checkpoint": "model.pt", "sha256": digest}

    missing = run(names, tmp_path / "third", initial_model=tmp_path / "none.pt")
    assert missing.returncode != 0
    assert f"{tmp_path}/none.pt: there is no model yet" in missing.stderr
