"""A cohort of 200 files, ten of them bad: killed three times, in parts, and on a cluster that loses a worker."""

import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest

from cohort import PrepareOptions, prepare_cohort
from cohort.phantoms import write_phantoms
from conventions import SYNTHETIC_NOTE
from tests.cohort.prepare.cohort_files import ROOT, command, content, without_earlier

pytestmark = pytest.mark.slow

OPTIONS = PrepareOptions(spacing=5.0)
GOOD, SIZE = 190, 32

REASONS = {
    "air": r"this is not a chest CT in Hounsfield units",
    "cut_off": r"cannot be read as NIfTI \(Compressed file ended before the end-of-stream marker",
    "empty": r"is an empty file; export the CT again",
    "four_axes": r"has 4 dimensions \(32 x 32 x 32 x 2\), a CT has 3",
    "microns": r"covers 320000 x 320000 x 320000 mm, more than a patient; its spacing or the unit",
    "no_number": r"3 voxels are not finite \(NaN or infinite\)",
    "picture": r"is a PNG file, which is not read as a CT",
    "predicted": r"is a CT predicted from radiographs, no truth to train on",
    "red_green_blue": r"holds RGB values, not HU",
    "zero_spacing": r"states a spacing of 0 \(pixdim\) and no sform",
}
"""Bad file -> why it is refused."""


def write_bad(folder, good):
    """Write the ten bad files, made of a good one."""
    image = nibabel.load(good)
    hu, affine = np.asarray(image.dataobj), image.affine

    def save(name, voxels, affine=affine, note=b""):
        made = nibabel.Nifti1Image(voxels, affine)
        made.header["descrip"] = note
        made.header.set_xyzt_units("mm")
        nibabel.save(made, folder / f"{name}.nii.gz")

    holes = hu.astype(np.float32)
    holes[3, 4, 5:8] = np.nan
    save("air", np.full_like(hu, -1000))
    save("four_axes", np.stack([hu, hu], -1))
    save("microns", hu, affine * [[1000], [1000], [1000], [1]])
    save("no_number", holes)
    save("predicted", hu, note=SYNTHETIC_NOTE.encode())
    save("red_green_blue", np.zeros(hu.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")]))
    packed = good.read_bytes()
    header = bytearray(gzip.decompress(packed))
    struct.pack_into("<3f", header, 80, 0, 0, 0)  # pixdim
    struct.pack_into("<h", header, 254, 0)  # sform_code
    (folder / "zero_spacing.nii").write_bytes(header)
    (folder / "cut_off.nii.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "picture.nii.gz").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    good = write_phantoms(folder, GOOD, size=SIZE, workers=1)
    write_bad(folder, good[0])
    assert len(list(folder.iterdir())) == 200
    return folder


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """One run that nothing disturbs."""
    return prepare_cohort(source, tmp_path_factory.mktemp("whole"), OPTIONS)


def records(folder):
    return len(list(folder.glob("records/[!.]*.json")))


def test_ten_are_refused_for_their_true_reasons(whole):
    assert len(whole.cases) == GOOD
    refused = {Path(path).name.split(".")[0]: reason for path, reason in whole.refused}
    assert refused.keys() == REASONS.keys()
    for name, reason in REASONS.items():
        assert re.search(reason, refused[name]), refused[name]
    names = [f"phantom_{number:04d}" for number in range(GOOD)]
    assert set(content(whole.manifest.parent)) == {
        "manifest.json", *(f"cases/{name}.nii.gz" for name in names), *(f"records/{name}.json" for name in names)
    }  # fmt: skip


def test_killed_three_times_it_ends_as_if_nothing_had_happened(whole, source, tmp_path):
    """The last run is made without the page of the command, which draws all cases."""
    for finished in (40, 90, 140):
        run = subprocess.Popen(command(source, tmp_path), cwd=ROOT, stderr=subprocess.DEVNULL)
        while records(tmp_path) < finished and run.poll() is None:
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        assert not (tmp_path / "manifest.json").exists()
    made = prepare_cohort(source, tmp_path, OPTIONS)
    assert made.refused == whole.refused
    assert content(tmp_path) == content(whole.manifest.parent)


@contextmanager
def cluster(folder, workers=2):
    """Start a scheduler and workers as processes that meet over loopback; yield its address and the workers."""
    pytest.importorskip("distributed")
    place = folder / "scheduler.json"
    common = ["--scheduler-file", str(place), "--no-dashboard"]
    with open(folder / "log.txt", "w") as log:

        def start(name, *words):
            program = [sys.executable, "-m", f"distributed.cli.dask_{name}", *common, *words]
            return subprocess.Popen(program, cwd=ROOT, stdout=log, stderr=log)

        processes = [start("scheduler", "--host", "127.0.0.1", "--port", "0")]
        try:
            for _ in range(workers):
                processes.append(start("worker", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1",
                                       "--local-directory", str(folder)))  # fmt: skip
            while not place.is_file():
                assert processes[0].poll() is None, (folder / "log.txt").read_text()[-2000:]
                time.sleep(0.05)
            yield json.loads(place.read_text())["address"], processes[1:]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def test_parts_make_the_whole_though_one_runs_on_a_cluster_that_loses_a_worker(
    whole, source, tmp_path, tmp_path_factory
):
    with cluster(tmp_path_factory.mktemp("cluster")) as (scheduler, workers):
        watch = f"""
import os, time
from pathlib import Path
while len(list(Path({str(tmp_path)!r}).glob("records/[!.]*.json"))) < 20:
    time.sleep(0.01)
os.kill({workers[0].pid}, {int(signal.SIGKILL)})
"""
        killer = subprocess.Popen([sys.executable, "-c", watch])
        prepare_cohort(source, tmp_path, OPTIONS, part="0/2", scheduler=scheduler)
        assert killer.wait() == 0
        assert workers[0].wait() == -signal.SIGKILL
        assert workers[1].poll() is None
    assert 0 < records(tmp_path) < GOOD
    prepare_cohort(source, tmp_path, OPTIONS, part="1/2")
    assert without_earlier(content(tmp_path)) == content(whole.manifest.parent)
