"""Evaluating with what a cohort may hold beside its CTs: real films of the same patients, and masks of their organs."""

import json
import shutil

import nibabel
import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from benchmarks.pseudo_real import pseudo_real
from drr import Acquisition, VolumeGrid
from metrics import FILM_MEASURES, MASK_MEASURES
from readers import lung_mask
from tests.bundle.conftest import ROOT, command
from tests.readers.radiographs.film_files import stored, write
from transforms import ReadVolume, ResampleToGrid

FINE = Acquisition(grid=VolumeGrid(64, 5.0), detector_shape=128, geometry="chest", curve="water", anchor="centre")
"""As the films are made, a chest film of 430 mm, while the model was trained for the authors' geometry."""

ENLARGED = 4
"""Factor by which the films are enlarged to the size of small real ones."""


def evaluate(tiny_run, cohort, out, **options):
    return command(
        "evaluating", "evaluate", out.parent, bundle_root=ROOT / "bundle", ckpt_dir=tiny_run.out / "models",
        dataset_dir=cohort, output_dir=out, pages=0, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def with_films(tmp_path_factory, tiny_cohort):
    """The cohort with pseudo-real films of the first CT of the test fold, as `cohort prepare` lists them."""
    folder = tmp_path_factory.mktemp("with_films") / "cohort"
    shutil.copytree(tiny_cohort, folder)
    (folder / "films").mkdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    case = next(case for case in manifest["cases"] if case["fold"] == "test")
    volume = ResampleToGrid(FINE)(ReadVolume()(folder / case["ct"]))
    made, _ = pseudo_real(torch.as_tensor(volume), FINE, seed=5)
    step = 430 / (FINE.detector_shape[0] * ENLARGED)
    listed = []
    for view, pixels, tags in (
        ("pa", made[0], {}),
        ("lateral", made[1], {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}),
    ):
        path = folder / "films" / f"{view}.dcm"
        write(path, stored(zoom(pixels, ENLARGED, order=1).clip(0, 1)), ImagerPixelSpacing=[step, step], **tags)
        listed.append({"film": f"films/{view}.dcm", "view": view, "days": 2})
    case["films"] = listed
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder, case["case"]


def test_real_films_are_measured_beside_drrs(tiny_run, with_films, tmp_path):
    cohort, case = with_films
    out = tmp_path / "out"
    done = evaluate(tiny_run, cohort, out, films=True, consistency="auto")
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((out / "summary.json").read_text())
    assert set(FILM_MEASURES) <= set(summary)
    rows = {
        (row["case"], row["measure"]): row["value"]
        for row in json.loads((out / "evaluation.json").read_text())["values"]
    }
    assert rows[case, "film_days"] == 2
    said = done.stdout + done.stderr
    # Two epochs seldom make lungs that can be aligned (figures then: tests/handlers/test_film_gap.py).
    assert (rows[case, "film_gap_db"] is None) == (f"{case}: no lungs are recognised in a predicted" in said)
    [other] = {name for name, _ in rows} - {case}
    assert {rows[other, name] for name in FILM_MEASURES} == {None}
    assert "1 of 2 cases have no film of each view (pa, lateral)" in said
    assert (out / "films" / f"{case}.png").is_file()
    page = (out / "report.html").read_text()
    assert "Protocol films, version 1" in page
    assert "film_shift_left_mm, mm" in page


def test_masks_are_measured_against(tiny_run, tiny_cohort, tmp_path):
    """Masks that are those of the true CT, found by the same thresholds: Dice is that of the case's own figures."""
    manifest = json.loads((tiny_cohort / "manifest.json").read_text())
    cases = [case for case in manifest["cases"] if case["fold"] == "test"]
    for case in cases:
        image = nibabel.load(tiny_cohort / case["ct"])
        folder = tmp_path / "masks" / case["case"]
        folder.mkdir(parents=True)
        canonical = nibabel.as_closest_canonical(image)
        array = canonical.get_fdata()[::-1, ::-1, ::-1].transpose(2, 1, 0)  # to the axes of `lung_mask`
        lungs = lung_mask(array.clip(-1024, 1476), 5.0).transpose(2, 1, 0)[::-1, ::-1, ::-1]
        for name in ("lung", "liver"):
            nibabel.save(nibabel.Nifti1Image(lungs.astype(np.uint8), canonical.affine), folder / f"{name}.nii.gz")
    out = tmp_path / "out"
    done = evaluate(tiny_run, tiny_cohort, out, masks=tmp_path / "masks")
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((out / "summary.json").read_text())
    assert set(MASK_MEASURES) <= set(summary)
    assert summary["mask_lung_dice"]["prediction"] == pytest.approx(summary["lung_dice"]["prediction"], abs=1e-4)
    assert summary["mask_bone_dice"]["prediction"] is None
    said = done.stdout + done.stderr
    assert "compared with the given masks: lung (of lung_right" in said
    assert "1 given masks are not used (liver)" in said
    assert "Protocol masks, version 1" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"films": True}, "lists no film of any CT; leave out --films"),
        ({"masks": "absent"}, "absent: there is no such folder of masks"),
    ],
)
def test_what_a_cohort_lacks_is_said_in_a_sentence_before_anything_is_written(
    options, words, tiny_run, tiny_cohort, tmp_path
):
    done = evaluate(tiny_run, tiny_cohort, tmp_path / "out", **options)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
