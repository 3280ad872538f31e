import sys

import pytest

from conventions import InputError
from storage import check_run, start_run


def test_a_run_is_checked_before_it_starts(tmp_path):
    check_run("cpu", [tmp_path / "new" / "folder"])
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to, because of"):
        check_run("cpu", [tmp_path / "file" / "folder"])
    with pytest.raises(InputError, match="device 'abacus' is not available on this machine"):
        check_run("abacus", [])


def test_a_run_of_a_host_program_leaves_its_hook():
    hook = sys.excepthook
    with pytest.raises(InputError, match="device 'abacus' is not available on this machine"):
        start_run("abacus", [])
    assert sys.excepthook is hook
