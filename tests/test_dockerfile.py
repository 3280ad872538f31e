"""The Dockerfile, read as Docker reads it: its steps run as a script, its files are there."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def steps(word):
    """Return the arguments of every instruction of a kind, continued lines joined and comments left out."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [line.partition(" ")[2] for line in joined.splitlines() if line.split(" ")[0] == word]


def test_the_base_and_the_index_of_torch_are_arguments():
    assert [step.partition("=")[0] for step in steps("ARG")] == ["BASE", "TORCH_INDEX"]
    assert steps("FROM") == ["${BASE}"]
    assert not re.search(r":latest|^ADD |\bsudo\b", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_it_runs_the_studies_command_without_root():
    (entry,), (arguments,) = steps("ENTRYPOINT"), steps("CMD")
    assert json.loads(entry)[1:] == ["-m", "export", "studies"]
    assert json.loads(arguments) == ["/in", "/out", "--watch"]
    assert steps("USER") == ["10001:10001"]


def test_what_it_copies_holds_the_starter_weights_and_no_models_of_the_user():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored.index("bundle/models/*") < ignored.index("!bundle/models/starter.*")
    assert {file.suffix for file in (ROOT / "bundle" / "models").glob("starter.*")} == {".pt", ".json"}
    assert ".git" in ignored


@pytest.mark.slow
def test_its_steps_run_as_a_script(tmp_path):
    """All but the fetching: pip installs the project alone, on top of what this environment holds."""
    build = tmp_path / "build"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in files:
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (build / name).parent.mkdir(parents=True, exist_ok=True)
            (build / name).write_bytes((ROOT / name).read_bytes())
    (shell,) = steps("SHELL")
    folders = {"/in": tmp_path / "in", "/out": tmp_path / "out"}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    site = sysconfig.get_path("purelib")
    environment = {
        **clean, "TORCH_INDEX": "https://download.pytorch.org/whl/cpu", "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0", "PYTHONPATH": site, "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}",
    }  # fmt: skip
    for step in steps("RUN"):
        words = re.sub(r"(?<=[ ])/(in|out)\b", lambda found: str(folders[found[0]]), step)
        done = subprocess.run([*json.loads(shell), words], cwd=build, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (step, done.stdout[-1000:], done.stderr[-2000:])
    found = subprocess.run(
        [build / ".venv/bin/python", "-c", "import export; print(export.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == str(build / "export" / "__init__.py")
