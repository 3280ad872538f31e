"""What metadata.json says that the bundle needs is all that predicting a CT from films imports."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from tests.readers.radiographs.film_files import stored, thorax, write

ROOT = Path(__file__).resolve().parent.parent.parent

WITHOUT_THE_REST = """
import importlib.machinery, importlib.metadata, json, re, sys

config_files, overrides, required = (json.loads(text) for text in sys.argv[1:])
normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()
present = {normal(found.metadata["Name"]): found for found in importlib.metadata.distributions()}
allowed, waiting = set(), [normal(name) for name in required]
while waiting:
    name = waiting.pop()
    if name in present and name not in allowed:
        allowed.add(name)
        needs = [text for text in present[name].requires or () if "extra ==" not in text]
        waiting += [normal(re.match(r"[\\w.-]+", text)[0]) for text in needs]
owners = importlib.metadata.packages_distributions()


class Required(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        owned = {normal(owner) for owner in owners.get(name.partition(".")[0], ())}
        return super().find_spec(name, path, target) if not owned or owned & allowed else None


sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Required
for name in ("itk", "onnx", "mlflow"):
    try:
        __import__(name)
        raise SystemExit(f"{name} can still be imported")
    except ModuleNotFoundError:
        pass
from monai.bundle import create_workflow

workflow = create_workflow(workflow_type="inference", config_file=config_files, **overrides)
workflow.run()
workflow.finalize()
"""


@pytest.fixture
def films(tmp_path):
    """A DICOM PA film and a lateral PNG."""
    write(tmp_path / "pa.dcm", stored(thorax()))
    lateral = stored(thorax((400, 350), "lateral"))
    Image.fromarray((lateral / lateral.max() * 255).astype(np.uint8)).save(tmp_path / "lateral.png")
    return {"pa": str(tmp_path / "pa.dcm"), "lateral": str(tmp_path / "lateral.png")}


def test_inferring_with_only_those(tiny_run, tiny_overrides, demo_config, films, tmp_path):
    assert tiny_run.training.returncode == 0, tiny_run.training.stderr[-2000:]
    metadata = json.loads((ROOT / "bundle/configs/metadata.json").read_text())
    required = ["monai", "torch", "numpy", *metadata["required_packages_version"]]
    overrides = {
        **tiny_overrides, **films, "bundle_root": str(ROOT / "bundle"), "ckpt_dir": str(tiny_run.out / "models"),
        "output_dir": str(tmp_path / "out"),
    }  # fmt: skip
    arguments = [json.dumps(part) for part in (demo_config("inference"), overrides, required)]
    done = subprocess.run([sys.executable, "-c", WITHOUT_THE_REST, *arguments], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert nibabel.load(tmp_path / "out" / "synthetic_ct.nii.gz").shape == (64, 64, 64)
