"""The packages as one package, x2ct, beside modules of the same names that belong to somebody else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from export.namespace import PACKAGES, rewrite, rewrite_config, rewrite_module, write_installed

ROOT = Path(__file__).resolve().parents[2]

PUBLIC = json.loads((ROOT / "tests" / "public_names.json").read_text())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder like site-packages, with the one package."""
    folder = tmp_path_factory.mktemp("site")
    write_installed(ROOT, folder / "x2ct")
    return folder


def run(code, site, cwd, *words):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_every_package_is_in_it():
    assert set(PACKAGES) == {path.parent.name for path in ROOT.glob("*/__init__.py")}


def test_imports_become_relative_and_sorted():
    source = (
        "import torch\n\nfrom conventions import InputError\nfrom drr import (\n    VolumeGrid,\n)\n\n"
        "from .grid import x\n"
        "MESSAGE = 'run python -m cohort split, or python -m pip'\n"
    )
    assert rewrite_module(source, 2) == (
        "import torch\n\nfrom ...conventions import InputError\nfrom ...drr import (\n    VolumeGrid,\n)\n"
        "from .grid import x\n"
        "MESSAGE = 'run python -m x2ct.cohort split, or python -m pip'\n"
    )


@pytest.mark.parametrize("source", ["import drr", "import torch, losses.projection"])
def test_an_import_that_cannot_be_relative_is_refused(source):
    with pytest.raises(ValueError, match="line 1: import it in the form"):
        rewrite_module(source, 1)


def test_documents_and_configs_name_the_one_package():
    assert rewrite("    >>> from drr import project\nfrom drrs import a") == (
        "    >>> from x2ct.drr import project\nfrom drrs import a"
    )
    config = {"a": [{"_target_": "drr.VolumeGrid", "x": "@drr.y"}], "b": {"_target_": "torch.nn.L1Loss"}}
    assert rewrite_config(config) == {
        "a": [{"_target_": "x2ct.drr.VolumeGrid", "x": "@drr.y"}], "b": {"_target_": "torch.nn.L1Loss"}
    }  # fmt: skip


def test_it_is_formatted_and_sorted(site):
    """By ruff, which agrees with black and isort on what the model zoo checks."""
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "I,F,E9", "--line-length", "120", site]
    form = [sys.executable, "-m", "ruff", "format", "--isolated", "--check", "--line-length", "120", site]
    for command in (lint, form):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_public_names_are_imported_beside_modules_of_others(site, tmp_path):
    for package in PACKAGES:
        (tmp_path / f"{package}.py").write_text("MINE = True\n")
    code = f"""
import importlib, json, sys
import losses, networks
for package, names in json.loads({json.dumps(json.dumps(PUBLIC))}).items():
    module = importlib.import_module("x2ct." + package)
    missing = [name for name in names if not hasattr(module, name)]
    assert not missing, (package, missing)
assert losses.MINE and networks.MINE
print("all there")
"""
    done = run(code, site, tmp_path)
    assert done.stdout == "all there\n", done.stderr[-2000:]


def test_ray_casting_needs_numpy_and_torch_only(site, tmp_path):
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("monai", "scipy", "nibabel", "pydicom", "PIL", "itk", "ignite", "matplotlib", "fire"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import torch
from x2ct.drr import VolumeGrid, preset, project
grid = VolumeGrid((32, 32, 32), 10.0)
line_integrals = project(torch.full((1, 1, 32, 32, 32), 0.02), grid, preset("chest", (33, 33)))
print(f"{float(line_integrals[0, 0, 16, 16]):.3f}")
"""
    done = run(code, site, tmp_path)
    assert done.stdout == "6.400\n", done.stderr[-2000:]  # 0.02 / mm through 320 mm


def test_its_configs_name_what_is_there(site, tmp_path):
    code = """
import importlib, json
from x2ct import BUNDLE
def targets(content):
    if isinstance(content, dict):
        yield from ([content["_target_"]] if "_target_" in content else [])
        content = list(content.values())
    for value in content if isinstance(content, list) else []:
        yield from targets(value)
found = {name for file in (BUNDLE / "configs").glob("*.json") for name in targets(json.loads(file.read_text()))}
ours = sorted(name for name in found if name.startswith("x2ct."))
for name in ours:
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute), name
print(len(ours) > 60, [name for name in found if name.split(".")[0] in PACKAGES])
""".replace("PACKAGES", repr(set(PACKAGES)))
    done = run(code, site, tmp_path)
    assert done.stdout == "True []\n", done.stdout + done.stderr[-2000:]
