"""The authors' lists of training and test cases, in small: one patient is in both."""

import json
import subprocess
import sys

import pytest

from cohort import load_datalist, split_by_lists
from conventions import InputError

TRAIN = [f"LIDC-IDRI-{n:04d}.20000101.{n}.1" for n in range(1, 11)] + ["LIDC-IDRI-0442.20000101.31620.1"]
TEST = ["LIDC-IDRI-0442.20000101.31621.1", "LIDC-IDRI-0500.20000101.5.1", "LIDC-IDRI-0501.20000101.6.1"]


@pytest.fixture
def lists(tmp_path):
    """A folder of empty CTs named as in the lists, and the two lists."""
    folder = tmp_path / "cts"
    folder.mkdir()
    for case in TRAIN + TEST:
        (folder / f"{case}.nii.gz").write_bytes(b"")
    (tmp_path / "train.txt").write_text("\n".join(TRAIN) + "\n\n")
    (tmp_path / "test.txt").write_text("\r\n".join(TEST))
    return folder, tmp_path / "train.txt", tmp_path / "test.txt"


def cases(manifest, fold):
    return {item["case"] for item in load_datalist(manifest, fold)}


def test_a_patient_in_both_lists_is_refused_by_name(lists):
    with pytest.raises(
        InputError, match=r"lists LIDC-IDRI-0442.20000101.31621.1, but .*train.txt lists other cases of L"
    ):
        split_by_lists(*lists)
    assert not (lists[0] / "manifest.json").exists()


def test_the_patient_is_moved_to_train(lists, caplog):
    manifest = split_by_lists(*lists, fix_leak=True)
    assert "moved to train, since their patient is in both lists: LIDC-IDRI-0442.20000101.31621.1" in caplog.text
    assert cases(manifest, "test") == set(TEST[1:])
    validation = cases(manifest, "validation")
    assert len({case[:14] for case in validation}) == 1
    assert cases(manifest, "train") | validation == {*TRAIN, TEST[0]}
    said = json.loads(manifest.read_text())
    assert said["moved"] == TEST[:1]
    assert said["protocol"] == "x2ct"


def test_validation_is_drawn_from_the_patients_of_train(lists, tmp_path):
    drawn = [cases(split_by_lists(*lists, tmp_path / "m.json", 4, s, True), "validation") for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    for one in drawn:
        assert len({case[:14] for case in one}) == 4
        assert not one & set(TEST[1:])


def test_missing_and_unlisted_cases_are_reported_and_left_out(lists, caplog):
    folder = lists[0]
    (folder / f"{TRAIN[0]}.nii.gz").rename(folder / "LIDC-IDRI-0999.20000101.9.nii.gz")
    manifest = split_by_lists(*lists, fix_leak=True)
    assert f"1 of the listed cases are missing and left out, such as {TRAIN[0]}" in caplog.text
    assert "1 of its cases are in no list and left out, such as LIDC-IDRI-0999.20000101.9" in caplog.text
    assert "0999" not in manifest.read_text()


def test_bad_lists(lists, tmp_path):
    folder, train, test = lists
    other = tmp_path / "other.txt"
    with pytest.raises(InputError, match=r"other.txt: cannot be read as text"):
        split_by_lists(folder, train, other)
    for text, words in (
        ("\n", "other.txt: lists no case"),
        ("a\nb\na\n", "other.txt: lists a twice"),
        (f"{TRAIN[3]}\n", f"lists {TRAIN[3]}, and so does"),
        ("LIDC-IDRI-0700.1.1\n", "holds no case of .*other.txt; name the CTs as the list does"),
    ):
        other.write_text(text)
        with pytest.raises(InputError, match=words):
            split_by_lists(folder, train, other)
    with pytest.raises(InputError, match="are too few for 0 in test, 11 in validation"):
        split_by_lists(folder, train, test, validation=11, fix_leak=True)


def test_the_command(lists, root):
    folder, train, test = lists

    def run(*words):
        command = [sys.executable, "-m", "cohort", "split", str(folder), *map(str, words)]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    protocol = ("--protocol", "x2ct", "--train_list", train, "--test_list", test)
    refused = run(*protocol)
    assert refused.returncode == 1
    assert "--fix_leak" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = run(*protocol, "--fix-leak")
    assert done.returncode == 0, done.stderr
    assert "test        cases: 2     patients: 2" in done.stdout
    assert "--protocol is x2ct, with --train_list FILE" in run("--protocol", "lidc").stderr
