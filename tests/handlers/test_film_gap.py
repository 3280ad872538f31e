"""A prediction from films that is the truth, moved by a known amount, is moved back, and the motion is stated."""

import json
import math

import numpy as np
import pytest
import torch

from cohort import thorax_phantom
from conventions import InputError
from drr import Acquisition, VolumeGrid
from engines import X2CTEvaluator
from handlers import EvaluationSummary, FilmGap
from metrics import FILM_MEASURES, MEASURES, volume_metrics
from tests.film_phantom import films as phantom_films
from tests.handlers.test_case_card import Answer
from tests.readers.radiographs.film_files import stored, write
from transforms import film_transforms, prediction_transforms

SPACING = 5.0
ACQUISITION = Acquisition(
    grid=VolumeGrid(64, SPACING),
    detector_shape=64,
    geometry="chest",
    curve="water",
    film_style="linear",
    anchor="lungs",
)


@pytest.fixture(scope="module")
def chests():
    """Two phantoms in HU, (1, 1, 64, 64, 64)."""
    return [
        torch.from_numpy(thorax_phantom(seed, (64, 64, 64), SPACING).volume_hu)[None, None].float().clamp(-1024, 1476)
        for seed in (0, 3)
    ]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """PA and lateral film of a phantom as DICOM files."""
    folder = tmp_path_factory.mktemp("films")
    step = 430 / phantom_films(0).shape[-1]
    tags = {"ImagerPixelSpacing": [step, step]}
    lateral = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}
    pa, side = phantom_films(0)
    return [
        str(write(folder / "pa.dcm", stored(pa), **tags)),
        str(write(folder / "lateral.dcm", stored(side), **tags, **lateral)),
    ]


def unit(volume_hu):
    return (volume_hu + 1024) / 2500


def with_noise(volume_hu, sigma):
    """Add noise of a known standard deviation in HU, the same each time."""
    noise = np.random.default_rng(0).normal(0, sigma, volume_hu.shape)
    return volume_hu + torch.from_numpy(noise).float()


def evaluate(folder, truths, answers, films_of):
    batches = [
        {
            "image": torch.zeros(1, 2, 64, 64),
            "label": unit(truth),
            "geometry": torch.zeros(1, 2, 4, 3),
            "case": [f"case_{number}"],
        }
        for number, truth in enumerate(truths)
    ]
    gap = FilmGap(ACQUISITION, prediction_transforms(), folder / "films", film_transforms(ACQUISITION), films_of)
    X2CTEvaluator(
        "cpu",
        batches,
        Answer([unit(answer) for answer in answers]),
        postprocessing=prediction_transforms(),
        key_val_metric=volume_metrics(),
        val_handlers=[gap, EvaluationSummary(folder)],
    ).run()
    record = json.loads((folder / "evaluation.json").read_text())
    return {(row["case"], row["measure"]): row["value"] for row in record["values"]}, record


def test_a_moved_prediction_is_moved_back_and_what_is_left_is_measured(tmp_path, chests, films):
    """From films the truth comes out 10 mm lower and 15 mm more to the right, exact steps of voxels."""
    moved = with_noise(torch.roll(chests[0], (2, -3), (2, 4)), 50.0)
    films_of = {"case_0": {"image": films, "days": -4.0}}
    value, record = evaluate(tmp_path, chests, [with_noise(chests[0], 20.0), moved, chests[1]], films_of)

    def of(name, case=0):
        return value[f"case_{case}", name]

    assert of("film_shift_head_mm") == pytest.approx(10, abs=0.5)
    assert of("film_shift_left_mm") == pytest.approx(15, abs=0.5)
    assert of("film_shift_back_mm") == pytest.approx(0, abs=0.5)
    assert [of(f"film_turn_about_{axis}_deg") for axis in ("left", "back", "head")] == pytest.approx([0] * 3, abs=0.3)
    before = 10 * math.log10(2500**2 / float((moved - chests[0]).square().mean()))
    assert before < 20
    assert of("film_psnr_db") == pytest.approx(20 * math.log10(2500 / 50), abs=1.5)
    assert of("film_drr_psnr_db") == pytest.approx(20 * math.log10(2500 / 20), abs=1.5)
    assert of("film_gap_db") == pytest.approx(of("film_drr_psnr_db") - of("film_psnr_db"), abs=1e-3)
    assert of("film_lung_dice") > 0.97
    assert abs(of("film_lung_total_ml_error")) < 50
    assert abs(of("film_lung_total_ml_gap")) < 50
    assert abs(of("film_cardiothoracic_ratio_error")) < 0.08  # 5 mm voxels, with noise
    assert of("film_days") == -4
    assert (tmp_path / "films" / "case_0.png").is_file()
    # The other case has no films.
    assert {value["case_1", name] for name in FILM_MEASURES} == {None}
    assert record["measures"]["film_gap_db"] == MEASURES["film_gap_db"].record()
    header, first, _ = (tmp_path / "cases.csv").read_text().splitlines()
    assert float(first.split(",")[header.split(",").index("film_shift_left_mm/prediction")]) == pytest.approx(
        15, abs=0.5
    )


def test_the_gap_is_what_films_cost(chests):
    """Noise of 100 HU: 10 log10(2500^2 / 100^2) dB, against a prediction without error but for its resampling."""
    noisy = with_noise(chests[0], 100.0)
    found = FilmGap(ACQUISITION, prediction_transforms(), "unused", films={}).figures(noisy, chests[0], chests[0])
    assert found["film_psnr_db"] == pytest.approx(27.96, abs=1.5)  # interpolation averages some of it
    assert found["film_gap_db"] == pytest.approx(found["film_drr_psnr_db"] - found["film_psnr_db"])
    same = FilmGap(ACQUISITION, prediction_transforms(), "unused", films={}).figures(noisy, noisy, chests[0])
    assert same["film_gap_db"] == same["film_lung_total_ml_gap"] == same["film_cardiothoracic_ratio_gap"] == 0


def test_films_that_cannot_be_read_and_lungs_that_are_not_there_are_warned_about(tmp_path, chests, films, caplog):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(b"no film")
    films_of = {"case_0": {"image": [films[0], str(broken)], "days": 0.0}, "case_1": {"image": films, "days": 0.0}}
    air = torch.full_like(chests[0], -1024.0)
    value, _ = evaluate(tmp_path, chests, [chests[0], chests[1], air], films_of)
    assert {value["case_0", name] for name in FILM_MEASURES} == {None}
    assert f"case_0: nothing is measured on its films: {broken}" in caplog.text
    assert {value["case_1", name] for name in FILM_MEASURES if name != "film_days"} == {None}
    assert "case_1: no lungs are recognised in a predicted or in the true CT" in caplog.text


def test_voxels_that_are_no_cubes_are_refused():
    flat = Acquisition(grid=VolumeGrid((64, 64, 64), (5.0, 5.0, 4.0)))
    with pytest.raises(InputError, match="lungs are aligned in voxels that are cubes"):
        FilmGap(flat, prediction_transforms(), "unused", films={})
    FilmGap(flat, prediction_transforms(), "unused")  # nothing is asked for
