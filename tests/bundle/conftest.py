"""A tiny run of the three documented commands, made once, from an empty folder elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cohort import split_cohort
from cohort.phantoms.generate import write_phantoms

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIGS = ROOT / "bundle" / "configs"

TINY = {
    "network_def::stem_channels": 4,
    "network_def::growth_rate": 4,
    "network_def::dense_layers": [1, 1, 1, 1, 1],
    "network_def::decoder_channels": [8, 8, 8, 8, 8, 8],
}
"""The smallest network that is still the paper's."""

TINY_RAYLIFT = {
    "network_def::encoder_channels": [4, 4, 4, 4, 4],
    "network_def::unet_channels": [4, 4, 4],
    "network_def::head_channels": [4, 4],
    "network_def::lift_channels": [4, 4, 4],
}
"""The smallest RayLift."""


def overlay(name: str, *more: str) -> list[str]:
    """A job's config with the demo's overlay on it."""
    return [str(CONFIGS / f"{part}.json") for part in (name, *more, "demo")]


AS_A_MODULE = """
import runpy, sys
from pathlib import Path
sys.path = [p for p in sys.path if not (Path(p) / "storage" / "options.py").exists()]
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""
"""`python -m monai.bundle` without any of our packages on the path, where an editable install would put them."""


def verb(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m monai.bundle` with the tiny network."""
    return plain_verb(*arguments, cwd=cwd, **{**options, **TINY})


def plain_verb(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m monai.bundle` in a folder; whatever is found of our packages, the config has found it."""
    flags = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    start = [sys.executable, "-c", AS_A_MODULE]
    return subprocess.run([*start, *arguments, *flags], cwd=cwd, env=environment, capture_output=True, text=True)


def command(run_id: str, config: str, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a documented command with the tiny network."""
    return verb("run", run_id, "--config_file", str(overlay(config)), cwd=cwd, **options)


@pytest.fixture(scope="session")
def tiny_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantoms, split into three, one and two."""
    folder = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder, cases=6, size=64)
    split_cohort(folder, test=2, validation=1)
    return folder


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, tiny_cohort: Path) -> SimpleNamespace:
    """Training, evaluating and inferring, each as its command; what they printed and where they wrote."""
    out, empty = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("empty")
    common = {"bundle_root": ROOT / "bundle", "ckpt_dir": out / "models", "output_dir": out}
    done = {
        "training": command("training", "train", empty, dataset_dir=tiny_cohort, max_epochs=2, **common),
        "evaluating": command("evaluating", "evaluate", empty, dataset_dir=tiny_cohort, **common),
    }
    radiographs = sorted((out / "radiographs").glob("*_pa.png"))
    if radiographs:
        pa = radiographs[0]
        lateral = pa.with_name(pa.name.replace("_pa.png", "_lateral.png"))
        common["output_dir"] = out / "inference"
        done["inferring"] = command("inferring", "inference", empty, pa=pa, lateral=lateral, **common)
    return SimpleNamespace(out=out, cwd=empty, **done)


@pytest.fixture(scope="session")
def tiny_options() -> dict[str, object]:
    """Arguments of the network that `tiny_run` trained."""
    options = {key.removeprefix("network_def::"): value for key, value in TINY.items()}
    return {"image_size": 64, "activation": "linear", **options}


@pytest.fixture(scope="session")
def tiny_overrides() -> dict[str, object]:
    """The same as overrides of a config."""
    return dict(TINY)


@pytest.fixture(scope="session")
def tiny_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`command`, for tests."""
    return command


@pytest.fixture(scope="session")
def bundle_verb() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`verb`, for tests."""
    return verb


@pytest.fixture(scope="session")
def bundle_verb_of_any_size() -> Callable[..., subprocess.CompletedProcess[str]]:
    """`plain_verb`, for tests."""
    return plain_verb


@pytest.fixture(scope="session")
def demo_config() -> Callable[..., list[str]]:
    """`overlay`, for tests."""
    return overlay
