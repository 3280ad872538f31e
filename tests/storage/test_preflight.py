import subprocess
import sys

import pytest

from conventions import InputError
from storage import check_run


def test_a_run_is_checked_before_it_starts(tmp_path):
    check_run("cpu", [tmp_path / "new" / "folder"])
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to, because of"):
        check_run("cpu", [tmp_path / "file" / "folder"])
    with pytest.raises(InputError, match="device 'abacus' is not available on this machine"):
        check_run("abacus", [])


def test_a_run_on_a_missing_device_ends_in_one_sentence(root):
    code = "from storage import start_run; start_run('abacus', [])"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: device 'abacus' is not available on this machine; use --device cpu\n"
