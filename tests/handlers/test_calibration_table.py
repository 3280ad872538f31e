import csv

import torch
from ignite.engine import Engine

from handlers import CalibrationTable


def run(folder, outputs):
    """One batch for each output."""

    def update(engine, output):
        engine.state.batch = [{"case": output.pop("case")}]
        return [output]

    engine = Engine(update)
    CalibrationTable(folder).attach(engine)
    engine.run([dict(output) for output in outputs])


def volume(value):
    return torch.full((1, 4, 4, 4), float(value))


def test_each_case_has_a_row_and_then_the_mean(tmp_path):
    """Errors of half and of two and a half times the expected 100 HU."""
    run(
        tmp_path,
        [
            {"case": "a", "pred": volume(50), "label": volume(0), "expected_error": volume(100)},
            {"case": "b", "pred": volume(250), "label": volume(0), "expected_error": volume(100)},
        ],
    )
    rows = {row["case"]: row for row in csv.DictReader((tmp_path / "calibration.csv").open())}
    assert list(rows) == ["a", "b", "mean", "laplace"]
    assert [float(rows["a"][f"within_{k}"]) for k in (1, 2, 3)] == [1, 1, 1]
    assert [float(rows["b"][f"within_{k}"]) for k in (1, 2, 3)] == [0, 0, 1]
    assert [float(rows["mean"][f"within_{k}"]) for k in (1, 2, 3)] == [0.5, 0.5, 1]
    assert float(rows["mean"]["mae_hu_of_surest_100%"]) == 150
    assert float(rows["laplace"]["within_1"]) == 0.6321


def test_the_networks_own_volume_and_the_updated_one_have_a_row_each(tmp_path):
    output = {"case": "a", "pred": volume(150), "without_update": volume(250), "label": volume(0)}
    run(tmp_path, [{**output, "expected_error": volume(100)}])
    rows = list(csv.DictReader((tmp_path / "calibration.csv").open()))
    assert [(row["case"], row["volume"]) for row in rows[:-1]] == [
        (case, volume) for case in ("a", "mean") for volume in ("predicted", "updated")
    ]
    assert [float(row["within_2"]) for row in rows[:2]] == [0, 1]
    assert [float(row["mae_hu_of_surest_50%"]) for row in rows[:2]] == [250, 150]


def test_without_expected_errors_there_is_no_table(tmp_path):
    run(tmp_path, [{"case": "a", "pred": volume(0), "label": volume(0)}])
    assert not (tmp_path / "calibration.csv").exists()
