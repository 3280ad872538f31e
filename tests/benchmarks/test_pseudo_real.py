import json
import re

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from benchmarks import pseudo_real
from cohort import load_datalist, patient_keys, split_cohort
from cohort.phantoms.generate import write_phantoms
from conventions import HU_WINDOW, InputError, hu_to_unit
from drr import Acquisition, VolumeGrid
from metrics import psnr
from networks import build_network, make_record, write_record
from tests.bundle.conftest import TINY
from transforms import RandFilm, RayCastDRR, ReadVolume, ResampleToGrid


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder, cases=4, size=64)
    return split_cohort(folder, test=1, validation=1)


CHEST = Acquisition(
    grid=VolumeGrid(64, 5.0), geometry="chest", curve="water", film_style="linear", detector_shape=64, anchor="centre"
)


def leave(path, network, acquisition, hu_window=None, **entries):
    """Write an untrained model with its record."""
    torch.save(network.state_dict(), path)
    write_record(path, make_record(network, acquisition, hu_window, **entries))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    widths = {key.removeprefix("network_def::"): value for key, value in TINY.items()}
    network = build_network("x2ct_biplanar", image_size=64, activation="linear", **widths)
    return leave(tmp_path_factory.mktemp("model") / "model.pt", network, CHEST, HU_WINDOW)


@pytest.mark.slow
def test_the_section_has_every_row_and_the_ceiling_is_the_direct_evaluation(cohort, checkpoint, tmp_path, capsys):
    page = tmp_path / "benchmarks.md"
    network = build_network("resnet_6blocks", channels=4, blocks=1)
    said = {"method": "cyclegan", "translator": "real_to_drr"}
    translator = leave(tmp_path / "to_drr.pt", network, CHEST.replace(detector_shape=128), **said)
    options = {"cyclegan": str(translator), "repeats": 1, "output": str(page)}
    pseudo_real.run(str(checkpoint), str(cohort), str(checkpoint), **options)
    rows = [line for line in page.read_text().splitlines() if line.startswith("| trained")]
    assert len(rows) == 22
    assert [row.count("cyclegan") for row in rows] == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0] * 2
    assert [row.count("updated") for row in rows] == [0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1] * 2
    assert [row.count("pseudo-real off") for row in rows] == [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1] * 2
    cells = [row.split("|") for row in rows]
    own, none, histogram = cells[0], cells[3], cells[6]
    assert own[-2].strip() == none[-2].strip() == ""
    value = {row: float(cells[row][2].split()[0]) for row in (0, 2, 3, 6, 11, 13, 16)}
    assert float(histogram[-2].split()[0]) == pytest.approx(value[6] - value[3], abs=0.02)
    sentence = " ".join(page.read_text().split())
    said = re.search(
        r"plain radiographs (\S+) dB\. .* bring back (\S+) .* training costs (\S+) .* random films (\S+)\.", sentence
    )
    expected = [value[0] - value[3], value[16] - value[3], 0.0, value[11] - value[13]]
    assert [float(number) for number in said.groups()] == pytest.approx(expected, abs=0.02)
    assert "nan" not in page.read_text()
    assert (tmp_path / "images" / "pseudo_real.png").exists()
    model = pseudo_real.Model(str(checkpoint))
    values = []
    for case in json.loads(cohort.read_text())["cases"]:
        if case["fold"] != "train":
            volume = ResampleToGrid(CHEST)(ReadVolume()(cohort.parent / case["ct"]))
            image = RayCastDRR(CHEST)(volume)
            prediction = model.predict(image.numpy())
            values.append(float(psnr(prediction, hu_to_unit(volume.as_tensor()[None], model.window), 1.0)))
    own = next(row for row in rows if row.startswith("| trained on own radiographs, own radiographs |"))
    assert own.split("|")[2].split()[0] == f"{np.mean(values):.2f}"


def test_a_film_follows_from_its_seed_and_keeps_the_patient(checkpoint, cohort):
    model = pseudo_real.Model(str(checkpoint))
    read = ReadVolume()(next(cohort.parent.glob("*.nii.gz")))
    coarse, volume = (ResampleToGrid(each)(read).as_tensor() for each in (model.acquisition, model.films))
    made = [pseudo_real.pseudo_real(volume, model.films, seed) for seed in (1, 1, 2)]
    for part in zip(made[0], made[1], strict=True):
        np.testing.assert_array_equal(*part)
    (one, field), (other, _) = made[0], made[2]
    assert np.abs(one - other).max() > 0.05
    assert one.min() >= 0
    assert one.max() <= 1
    assert one.shape == field.shape == (2, 128, 128)
    assert one.dtype == np.float32
    own = pseudo_real.own_radiographs(coarse, model)
    for film, plain in zip(pseudo_real.translate([one], "none", None, model)[0], own, strict=True):
        inner = np.s_[10:50, 10:50]
        assert np.corrcoef(film[inner].ravel(), plain[inner].ravel())[0, 1] > 0.8


def test_a_film_is_black_beyond_its_field_and_holds_scatter(checkpoint, cohort):
    model = pseudo_real.Model(str(checkpoint))
    volume = ResampleToGrid(model.films)(ReadVolume()(next(cohort.parent.glob("*.nii.gz")))).as_tensor()
    shares = []
    for seed in range(3):
        films, fields = pseudo_real.pseudo_real(volume, model.films, seed)
        assert not films[~fields].any()
        for film, field in zip(films, fields, strict=True):
            rows, columns = np.flatnonzero(field.any(1)), np.flatnonzero(field.any(0))
            assert field[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            assert (rows[0], columns[0]) == (0, 0)
            shares += [1 - len(rows) / 128, 1 - len(columns) / 128]
            assert (film == 1).sum() >= 20  # the L
    assert 0.04 < min(shares) < 0.08
    assert 0.11 < max(shares) < 0.16


def test_a_third_of_the_scatter_is_narrow():
    """The scatter of one dense ray in nothing, against SciPy."""
    p = torch.zeros((128, 128), dtype=torch.float64)
    p[64, 64] = 1.0
    added = torch.exp(-pseudo_real.scattered(p, 0.36)).numpy() - np.exp(-p.numpy())
    narrow, wide = (gaussian_filter((p > 0).double().numpy(), share * 128, truncate=8) for share in (0.06, 0.3))
    expected = narrow / 3 + 2 / 3 * wide
    np.testing.assert_allclose(added / added.sum(), expected / expected.sum(), rtol=0.02)


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(5, 1, 400)
    low, high = pseudo_real.interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_a_model_without_its_record_is_refused(checkpoint, tmp_path):
    (tmp_path / "model.pt").write_bytes(checkpoint.read_bytes())
    with pytest.raises(InputError, match=r"there is no model\.json next to it"):
        pseudo_real.Model(str(tmp_path / "model.pt"))


def test_a_network_that_makes_no_volume_is_refused(tmp_path):
    network = build_network("resnet_6blocks", channels=4, blocks=1)
    leave(tmp_path / "to_drr.pt", network, CHEST)
    with pytest.raises(InputError, match=r"to_drr\.pt: makes no volume"):
        pseudo_real.Model(str(tmp_path / "to_drr.pt"))


def test_models_of_two_acquisitions_are_not_compared(checkpoint, tmp_path):
    network = build_network("replicate_unet", image_size=64, channels=(4, 8))
    other = leave(tmp_path / "other.pt", network, CHEST.replace(curve="bone"), HU_WINDOW)
    first = pseudo_real.Model(str(checkpoint))
    pseudo_real.Model(str(checkpoint), like=first)
    with pytest.raises(InputError, match=r"other\.pt: was trained with curve 'bone' instead of 'water'"):
        pseudo_real.Model(str(other), like=first)


def test_a_model_that_has_seen_a_test_patient_is_refused(checkpoint, cohort, tmp_path):
    seen = tmp_path / "model.pt"
    seen.write_bytes(checkpoint.read_bytes())
    record = json.loads(checkpoint.with_suffix(".json").read_text())
    record["patients"] = patient_keys([load_datalist(cohort, "test")])
    seen.with_suffix(".json").write_text(json.dumps(record))
    for models in ([seen], [checkpoint, seen]):
        with pytest.raises(InputError, match="was trained or chosen on 1 of the 1 patients"):
            pseudo_real.run(str(models[0]), str(cohort), *map(str, models[1:]), output=str(tmp_path / "page.md"))
    assert not (tmp_path / "page.md").exists()


def test_randomisation_draws_none_of_the_tone_curves():
    """As the method says, of as many as a long training would draw."""
    tones = np.linspace(0, 1, 201) * 0.999
    nothing = dict.fromkeys(("scatter", "noise", "blur", "sharpening", "border", "marker"), 0)
    draw = RandFilm(plain=0, prob=1, **nothing).set_random_state(0)
    ramp = torch.from_numpy(tones)[None, None].float()
    drawn = np.stack([draw(ramp).numpy()[0, 0] for _ in range(2000)])
    for slope in (1.1, 1.25, 1.4):
        for steepest in (2.6, 2.9, 3.2):
            curve = pseudo_real.tone(8 * tones, slope, steepest)
            low, high = np.percentile(curve, (0.5, 99.5))
            assert np.abs(drawn - ((curve - low) / (high - low)).clip(0, 1)).max(1).min() > 0.03
