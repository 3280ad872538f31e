"""What the app refuses to start with."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = importlib.util.find_spec("monailabel") is not None


def start(folder, *words, package="x2ct.label_app"):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, "-m", package, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=300)


def sentence(done):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.skipif(INSTALLED, reason="MONAI Label is installed")
def test_without_monai_label_it_says_how_to_get_it():
    done = start(ROOT, "--studies", ROOT, package="label_app")
    assert sentence(done) == "Error: MONAI Label is not installed here; `make label` makes an environment that has it"


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="MONAI Label is not installed; make test-label has an environment with it")
class TestRefusals:
    def test_without_weights(self, archive, tmp_path):
        bundle = shutil.copytree(archive, tmp_path / "bundle")
        (bundle / "models" / "model.pt").unlink()
        assert "starter.pt: there are no starter weights here; name a model by --checkpoint" in sentence(
            start(bundle, "--studies", tmp_path)
        )

    def test_with_other_weights_than_its_record_says(self, archive, tmp_path):
        bundle = shutil.copytree(archive, tmp_path / "bundle")
        file = bundle / "models" / "model.json"
        record = json.loads(file.read_text())
        record["network"]["arguments"]["encoder_channels"] = [4, 4, 8]
        file.write_text(json.dumps(record))
        assert "model.pt: " in sentence(start(bundle, "--studies", tmp_path))
        (bundle / "models" / "model.pt").write_bytes(b"junk")
        assert "cannot be read as PyTorch weights" in sentence(start(bundle, "--studies", tmp_path))

    def test_without_studies(self, archive, tmp_path):
        done = start(archive, "--studies", tmp_path / "none")
        assert "none: there is no such folder; give one of studies" in sentence(done)
        assert not (tmp_path / "none").exists()

    def test_with_settings_that_cannot_be(self, archive, tmp_path):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert f"127.0.0.1:{port} cannot be listened on" in sentence(
                start(archive, "--studies", tmp_path, "--port", port)
            )
        assert "--max_upload_mb is a number above 0" in sentence(
            start(archive, "--studies", tmp_path, "--max_upload_mb", 0)
        )
