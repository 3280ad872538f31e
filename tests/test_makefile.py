"""What `make ct` runs for the films that it is given."""

import shutil
import subprocess

import pytest

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@needs_make
@pytest.mark.parametrize(
    ("given", "expected", "absent"),
    [
        (("PA=a.png", "LATERAL=b.png"), ('--pa "a.png" --lateral "b.png"',), "--views"),
        (("PA=a.png",), ('--pa "a.png"', "--views \"['pa']\""), "--lateral"),
        (("LATERAL=b.png",), ('--lateral "b.png"', "--views \"['lateral']\""), "--pa"),
        (("PA=tests",), ('--pa "tests"',), "--views"),
        (("PA=both.nii.gz",), ('--pa "both.nii.gz"',), "--views"),
    ],
)
def test_each_film_that_is_given_is_read(root, given, expected, absent):
    command = ["make", "--dry-run", "--old-file", "env", "ct", *given]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    [line] = [line for line in printed.splitlines() if "inferring" in line]
    assert all(words in line for words in expected)
    assert absent not in line
