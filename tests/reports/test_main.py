"""`python -m reports` as a command."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("command", "named"), [("style", "--renderings"), ("summary", "FOLDER")])
def test_help_is_asked_for_and_no_error(root, command, named):
    """Also where a command takes any option, as `style` does."""
    done = subprocess.run(
        [sys.executable, "-m", "reports", command, "--help"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert named in done.stdout + done.stderr
