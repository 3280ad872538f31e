"""The wheel, installed by pip into an environment of its own, as another team would use it."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from tests.bundle.conftest import TINY

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow

TEAM = """
import sys
import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose
import losses  # the team's own
from x2ct.drr import Acquisition, VolumeGrid
from x2ct.losses import ProjectionLoss
from x2ct.networks import build_network
from x2ct.transforms import HUWindowd, RayCastDRRd, ReadVolumed, ResampleToGridd

acquisition = Acquisition(geometry="chest", curve="water", film_style="linear", anchor="lungs",
                          grid=VolumeGrid(64, 5.0), detector_shape=64)
pair = Compose([ReadVolumed("label"), ResampleToGridd("label", acquisition), RayCastDRRd("label", acquisition),
                HUWindowd("label")])
data = CacheDataset([{"label": path} for path in sys.argv[1:]], pair, progress=False)
torch.manual_seed(0)
network = build_network("raylift", image_size=64, voxel_mm=5.0, encoder_channels=[4] * 5, unet_channels=[4] * 3,
                        head_channels=[4, 4], lift_channels=[4] * 3)
optimizer = torch.optim.Adam(network.parameters(), 3e-3)
found = []
for epoch in range(4):
    for batch in DataLoader(data, batch_size=2):
        image, label = batch["image"].as_tensor(), batch["label"].as_tensor()
        predicted = network(image, geometry=batch["geometry"])
        loss = losses.mine(predicted, label) + ProjectionLoss()(predicted, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
print("LOSSES", found[0], found[-1])
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """An environment with the wheel and what it depends on, and a folder with modules of the team's own."""
    folder = tmp_path_factory.mktemp("team")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "wheel", ROOT]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, cwd=folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
    python = folder / "env" / "bin" / "python"
    (wheel,) = (folder / "wheel").glob("*.whl")
    install = ["--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, cwd=folder)
    site = Path(subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True,
                               capture_output=True, text=True).stdout.strip())  # fmt: skip
    installed = {path.name for path in site.iterdir()}
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    work = folder / "work"
    work.mkdir()
    (work / "losses.py").write_text("def mine(a, b):\n    return (a - b).abs().mean()\n")
    (work / "networks.py").write_text("MINE = True\n")

    def run(*words):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return subprocess.run([python, *words], cwd=work, env=environment, capture_output=True, text=True)

    return SimpleNamespace(run=run, work=work, installed=installed)


@pytest.fixture(scope="module")
def phantoms(team):
    done = team.run("-m", "x2ct.cohort", "phantom", "cohort", "--cases", "5", "--size", "64")
    assert done.returncode == 0, done.stderr
    done = team.run("-m", "x2ct.cohort", "split", "cohort", "--test", "2", "--validation", "1")
    assert done.returncode == 0, done.stderr
    return sorted(str(path) for path in (team.work / "cohort").glob("*.nii.gz"))


def test_nothing_generic_is_installed(team):
    names = {name for name in team.installed if not name.endswith(".dist-info")}
    assert names == {"x2ct"}


def test_the_public_names(team):
    public = json.loads((ROOT / "tests" / "public_names.json").read_text())
    code = (
        "import importlib, json, sys\n"
        "print([f'{package}.{name}' for package, names in json.loads(sys.argv[1]).items() for name in names"
        " if not hasattr(importlib.import_module('x2ct.' + package), name)])"
    )
    done = team.run("-c", code, json.dumps(public))
    assert done.stdout == "[]\n", done.stderr[-2000:]


def test_a_team_trains_with_its_own_losses(team, phantoms):
    (team.work / "train.py").write_text(TEAM)
    done = team.run("train.py", *phantoms)
    assert done.returncode == 0, done.stderr[-2000:]
    first, last = map(float, done.stdout.split("LOSSES")[1].split())
    assert last < 0.8 * first


def test_commands_of_the_pages(team, phantoms):
    done = team.run("-m", "x2ct.drr", phantoms[0], "--output", "drrs", "--detector_shape", "64")  # drr.md
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(path.suffix for path in (team.work / "drrs").iterdir())
    done = team.run("-m", "x2ct.cohort", "prepare", "cohort", "prepared", "--spacing", "5")  # data.md
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((team.work / "prepared" / "cases").iterdir())) == len(phantoms)
    done = team.run("-m", "x2ct.networks", "list")  # usage.md
    assert "raylift" in done.stdout, done.stderr[-2000:]


def test_the_workflows_run_from_the_configs_that_are_installed(team, phantoms):
    """Of training.md, films.md and agreement.md."""
    configs = team.run("-c", "from x2ct import BUNDLE; print(BUNDLE / 'configs')").stdout.strip()

    def bundle(verb, name, **options):
        files = str([f"{configs}/{part}.json" for part in (name, "demo")])
        flags = [text for key, value in {**TINY, **options}.items() for text in (f"--{key}", str(value))]
        return team.run("-m", "monai.bundle", "run", verb, "--config_file", files, *flags)

    done = bundle("training", "train", dataset_dir="cohort", max_epochs=1, discriminator_channels=4, output_dir="out")
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((team.work / "models" / "model.json").read_text())["network"]["name"] == "x2ct_biplanar"
    done = bundle("evaluating", "evaluate", dataset_dir="cohort", output_dir="out")
    assert done.returncode == 0, done.stderr[-2000:]
    pa = next((team.work / "out" / "radiographs").glob("*_pa.png"))
    lateral = str(pa).replace("_pa.png", "_lateral.png")
    done = bundle("inferring", "inference", pa=pa, lateral=lateral, output_dir="out", consistency="auto")
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.asarray(nibabel.load(team.work / "out" / "synthetic_ct.nii.gz").dataobj).shape == (64, 64, 64)
