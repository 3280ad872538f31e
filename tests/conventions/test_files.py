import os

import pytest
import torch

from conventions import InputError, check_run, read_tensors, set_aside, write_atomically, write_tensors


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


REFUSAL = "cannot be read ({reason}); give another"


def test_tensors_come_back(tmp_path):
    content = {"weight": torch.arange(3.0), "epoch": 2, "name": "a"}
    read = read_tensors(write_tensors(tmp_path / "a.pt", content), REFUSAL)
    assert torch.equal(read.pop("weight"), content.pop("weight"))
    assert read == content


class RunsWhenOpened:
    def __reduce__(self):
        return os.mkdir, ("it_ran",)


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        (lambda file: None, "No such file"),
        (lambda file: file.mkdir(), "Is a directory"),
        (lambda file: file.touch(), "it is not whole"),
        (lambda file: file.write_text("text"), "it is damaged, or holds more than tensors and numbers"),
        (lambda file: torch.save(RunsWhenOpened(), file), "it is damaged, or holds more than tensors and numbers"),
        (
            lambda file: (torch.save(torch.ones(999), file), os.truncate(file, 2000)),
            "PytorchStreamReader failed reading zip archive: failed finding central directory",
        ),
    ],
)
def test_what_holds_no_tensors_is_refused_in_one_sentence_and_not_run(tmp_path, monkeypatch, leave, reason):
    monkeypatch.chdir(tmp_path)
    leave(tmp_path / "a.pt")
    with pytest.raises(InputError) as caught:
        read_tensors(tmp_path / "a.pt", REFUSAL)
    assert str(caught.value).startswith(f"{tmp_path / 'a.pt'}: cannot be read (")
    assert reason in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert str(caught.value).endswith("); give another")
    assert not (tmp_path / "it_ran").exists()


def test_a_run_is_checked_before_it_starts(tmp_path):
    check_run("cpu", [tmp_path / "new" / "folder"])
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to, because of"):
        check_run("cpu", [tmp_path / "file" / "folder"])
    with pytest.raises(InputError, match="device 'abacus' is not to be had here"):
        check_run("abacus", [])
