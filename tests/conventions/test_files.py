import os

import pytest

from conventions import set_aside, write_atomically


def test_an_earlier_file_is_renamed_after_its_time(tmp_path):
    file = tmp_path / "a.b.nii.gz"
    file.write_text("first")
    os.utime(file, (0, 0))
    first = set_aside(file)
    assert first.read_text() == "first"
    assert not file.exists()
    assert first.name.startswith("a.b_1970") or first.name.startswith("a.b_1969")
    assert first.name.endswith(".nii.gz")
    file.write_text("second")
    os.utime(file, (0, 0))
    second = set_aside(file)
    assert (first.read_text(), second.read_text()) == ("first", "second")
    assert set_aside(file) is None


def test_a_failed_write_leaves_nothing(tmp_path):
    file = tmp_path / "folder" / "out.txt"
    file.parent.mkdir()
    file.write_text("old")

    def fail(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, fail)
    assert file.read_text() == "old"
    assert os.listdir(file.parent) == ["out.txt"]
    write_atomically(file, lambda part: part.write_text("new"))
    assert file.read_text() == "new"
