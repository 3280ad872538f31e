import os

import pytest

from conventions import InputError
from storage import set_aside, write_atomically


def test_an_earlier_file_is_renamed_after_its_time(tmp_path):
    file = tmp_path / "a.b.nii.gz"
    for text in ("first", "second"):
        file.write_text(text)
        os.utime(file, (86400, 86400))
        (kept,) = set_aside(file)
        assert kept.read_text() == text
        assert not file.exists()
        assert kept.name.startswith("a.b_1970010")
        assert kept.name.endswith(".nii.gz")
    assert len(list(tmp_path.iterdir())) == 2
    assert set_aside(file) == []


def test_files_that_belong_together_stay_together(tmp_path):
    model, record = tmp_path / "model.pt", tmp_path / "model.json"
    for file, written in ((model, 86400), (record, 80000)):
        file.write_text("")
        os.utime(file, (written, written))
    kept = set_aside(model, record)
    assert kept[0].with_suffix(".json") == kept[1]


def test_a_folder_is_never_renamed(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        set_aside(tmp_path)
    assert tmp_path.is_dir()


def test_a_failed_write_leaves_nothing(tmp_path):
    file = tmp_path / "folder" / "out.txt"
    file.parent.mkdir()
    file.write_text("old")

    def fail(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(InputError, match=r"out.txt: cannot be written .*disk full"):
        write_atomically(file, fail)
    assert file.read_text() == "old"
    assert os.listdir(file.parent) == ["out.txt"]
    write_atomically(file, lambda part: part.write_text("new"))
    assert file.read_text() == "new"
