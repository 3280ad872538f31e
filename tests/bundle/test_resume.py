"""The documented training command, killed and resumed, ends with the weights it would have had."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.bundle.conftest import CONFIGS, ROOT, TINY

EPOCHS = 3


def start(cohort, folder, workers, resume):
    """The command, with shuffling, augmentation and dropout, in a process of its own."""
    files = [str(CONFIGS / f"{name}.json") for name in ("train", "demo", "augmented")]
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
    assert "going on after epoch" in printed
    for name, expected in uninterrupted.items():
        ours = models(tmp_path)[name]
        assert ours.keys() == expected.keys()
        assert all(torch.equal(ours[key], expected[key]) for key in expected), name
    assert len((tmp_path / "losses.csv").read_text().splitlines()) == EPOCHS + 1
