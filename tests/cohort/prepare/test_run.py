"""A cohort is the same however it was made: in one go, killed, in parts, in processes, or on a cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cohort import PrepareOptions, load_datalist, prepare_cohort, split_cohort, validate_cohort
from cohort.phantoms import write_phantoms
from conventions import InputError
from tests.cohort.prepare.cohort_files import ROOT, command, content, without_earlier

OPTIONS = PrepareOptions(spacing=5.0)
CASES = 5


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Five phantoms in folders below each other, two files that are broken and one that is no CT."""
    folder = tmp_path_factory.mktemp("source")
    for number, file in enumerate(write_phantoms(folder, CASES, size=64, workers=1)):
        deeper = folder / f"{number}" / "deeper"
        deeper.mkdir(parents=True)
        file.rename(deeper / file.name)
    (folder / "broken.nii.gz").write_bytes(b"no NIfTI")
    (folder / "text.mha").write_text("neither")
    (folder / "notes.txt").write_text("a note")
    return folder


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    return prepare_cohort(source, tmp_path_factory.mktemp("whole"), OPTIONS)


def test_every_case_has_its_volume_record_and_entry(whole):
    names = [f"phantom_{number:04d}" for number in range(CASES)]
    assert [case["case"] for case in whole.cases] == names
    assert set(content(whole.manifest.parent)) == {
        "manifest.json", *(f"cases/{name}.nii.gz" for name in names), *(f"records/{name}.json" for name in names)
    }  # fmt: skip


def test_what_is_refused_is_named_with_its_reason(whole, source):
    assert [Path(path).name for path, _ in whole.refused] == ["broken.nii.gz", "text.mha"]
    assert all(reason.startswith(str(source)) and "\n" not in reason for _, reason in whole.refused)


def test_a_second_run_makes_nothing_again(whole, source):
    stamps = {file: file.stat().st_mtime_ns for file in whole.manifest.parent.rglob("*") if file.is_file()}
    prepare_cohort(source, whole.manifest.parent, OPTIONS)
    assert {file: file.stat().st_mtime_ns for file in whole.manifest.parent.rglob("*") if file.is_file()} == stamps


def test_a_changed_or_damaged_case_is_made_again(source, tmp_path):
    made = prepare_cohort(source / "0", tmp_path, OPTIONS)
    volume = tmp_path / made.cases[0]["ct"]
    first = volume.read_bytes()
    volume.write_bytes(first[:-9])
    prepare_cohort(source / "0", tmp_path, OPTIONS)
    assert volume.read_bytes() == first
    prepare_cohort(source / "0", tmp_path, PrepareOptions(spacing=5.0, keep_table=True))
    assert json.loads((tmp_path / "records" / "phantom_0000.json").read_text())["entry"]["table"] == "kept"


def test_a_run_that_was_killed_goes_on(whole, source, tmp_path):
    for killed_after in (1, 2, 4):
        run = subprocess.Popen(command(source, tmp_path), cwd=ROOT, stderr=subprocess.DEVNULL)
        while len(list(tmp_path.glob("records/*.json"))) < killed_after and run.poll() is None:
            time.sleep(0.02)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    (tmp_path / "cases" / ".77-phantom_0004.nii.gz").write_bytes(b"half")
    done = subprocess.run(command(source, tmp_path), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr[-2000:]
    assert done.stdout.endswith("2 refused\n")
    made = {name: digest for name, digest in content(tmp_path).items() if not name.startswith(("report", "thumbnails"))}
    assert made == content(whole.manifest.parent)
    assert (tmp_path / "report.html").is_file()


def test_parts_and_processes_give_the_same(whole, source, tmp_path):
    prepare_cohort(source, tmp_path, OPTIONS, part="1/2", jobs=2)
    prepare_cohort(source, tmp_path, OPTIONS, part="0/2")
    after = content(tmp_path)
    assert len(after) - len(without_earlier(after)) == 1  # the manifest of the first part, renamed and not overwritten
    assert without_earlier(after) == content(whole.manifest.parent)


@pytest.mark.slow
def test_a_cluster_gives_the_same_though_a_worker_is_killed(whole, source, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        worker = next(iter(cluster.workers.values())).process.pid
        killer = subprocess.Popen(
            [sys.executable, "-c",
             f"import glob, os, time\nwhile not glob.glob({str(tmp_path / 'records' / '*.json')!r}): time.sleep(0.02)\n"
             f"os.kill({worker}, 9)"]
        )  # fmt: skip
        prepare_cohort(source, tmp_path, OPTIONS, scheduler=cluster.scheduler_address)
        assert killer.wait() == 0
    assert content(tmp_path) == content(whole.manifest.parent)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"part": "2/2"}, r"part is i/n with i from 0 to n - 1, such as 0/4, got 2/2"),
        ({"jobs": 0}, r"jobs is a number of processes from 1 up, got 0"),
        ({"options": PrepareOptions(spacing=0.01)}, r"spacing is a number of mm between 0.3 and 5, got 0.01"),
    ],
)
def test_impossible_arguments(source, tmp_path, given, sentence):
    with pytest.raises(InputError, match=sentence):
        prepare_cohort(source, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_scheduler_that_is_not_there(source, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("cohort.prepare.run.CONNECT_S", 1)
    with pytest.raises(InputError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers there"):
        prepare_cohort(source, tmp_path, OPTIONS, scheduler="tcp://127.0.0.1:9")


def test_sources_that_hold_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: holds no CT; give a folder with DICOM series, NIfTI"):
        prepare_cohort(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(InputError, match=r"nowhere: there is no such folder, and no file fits it as a pattern"):
        prepare_cohort(tmp_path / "nowhere", tmp_path / "out")


def test_patterns_and_lists(source, tmp_path):
    pattern = prepare_cohort(f"{source}/**/phantom_000[01].nii.gz", tmp_path / "a", OPTIONS)
    (tmp_path / "list.txt").write_text(f"{source / '0'}\n{source / '1' / 'deeper' / 'phantom_0001.nii.gz'}\n")
    listed = prepare_cohort(tmp_path / "list.txt", tmp_path / "b", OPTIONS)
    assert listed.cases == pattern.cases
    assert len(listed.cases) == 2
    (tmp_path / "list.txt").write_text("missing.nii\n")
    with pytest.raises(InputError, match=r"list.txt: lists .*missing.nii, which does not exist"):
        prepare_cohort(tmp_path / "list.txt", tmp_path / "c")


def test_two_files_of_one_name_are_refused(source, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.nii.gz").write_bytes((source / "0" / "deeper" / "phantom_0000.nii.gz").read_bytes())
    made = prepare_cohort(tmp_path, tmp_path / "out", OPTIONS)
    assert made.cases == []
    assert [reason for _, reason in made.refused] == [
        "has the name of another CT; give one of the two another name"
    ] * 2


def test_a_prepared_cohort_is_split_again_and_read(whole, tmp_path):
    elsewhere = split_cohort(whole.manifest.parent, tmp_path / "folds.json", test=2, validation=2)
    cases = json.loads(elsewhere.read_text())["cases"]
    assert sorted(case["fold"] for case in cases) == ["test", "test", "train", "validation", "validation"]
    assert [case["sha256"] for case in cases] == [case["sha256"] for case in whole.cases]
    for fold in ("train", "test"):
        for item in load_datalist(elsewhere, fold):
            assert Path(item["label"]).parent == whole.manifest.parent / "cases"
    assert validate_cohort(elsewhere) == []
    with pytest.raises(InputError, match="was prepared, so its patients are known; leave out --patients"):
        split_cohort(whole.manifest.parent, tmp_path / "b.json", patients="list.json")


def test_a_dry_run_says_what_would_be_done(whole, source, tmp_path):
    done = subprocess.run(
        [*command(source, whole.manifest.parent), "--dry_run"], cwd=ROOT, capture_output=True, text=True
    )
    expected = (
        "7 CTs (1 mha, 6 nii.gz) of 7 patients, 5 of them made already; 0 films of these patients, 0 of others, "
        "which are left out; 0 files refused by their names; about 0 minutes"
    )
    assert done.stdout.startswith(expected), done.stderr[-2000:]
    subprocess.run([*command(source, tmp_path / "out"), "--dry_run"], cwd=ROOT, check=True)
    assert not (tmp_path / "out").exists()


def test_the_same_image_counts_once(source, tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.nii.gz").write_bytes((source / "0" / "deeper" / "phantom_0000.nii.gz").read_bytes())
    made = prepare_cohort(tmp_path, tmp_path / "out", OPTIONS)
    assert [case["case"] for case in made.cases] == ["a"]
    assert made.refused == [(str(tmp_path / "b.nii.gz"), "is the same image as a, and is left out")]


def test_the_cohort_may_lie_in_its_source(source, tmp_path):
    (tmp_path / "a.nii.gz").write_bytes((source / "0" / "deeper" / "phantom_0000.nii.gz").read_bytes())
    for _ in range(2):
        made = prepare_cohort(tmp_path, tmp_path / "prepared", OPTIONS)
    assert [case["case"] for case in made.cases] == ["a"]
    assert np.isfinite(made.cases[0]["body_litres"])
