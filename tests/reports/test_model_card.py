"""The figures in a model card are those of an evaluation, and the card on file cannot drift from its data."""

import json
import re

import pytest

from conventions import InputError
from metrics import bootstrap_interval
from reports import CARD_MARKS, card_figures, figures_block, read_figures, write_card
from storage import digest_of
from tests.reports.evaluations import chests, figures, mean_volume, write_evaluation

NAMES = ("Doe^John", "Roe^Jane", "c")


def half(number):
    return 0.5 * chests()[number] + 0.5 * mean_volume()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_evaluation(tmp_path_factory.mktemp("run"), half, names=NAMES)


def card(folder):
    path = folder / "README.md"
    path.write_text(f"# Card\n\nbefore\n\n{CARD_MARKS[0]}\n\nold: 99.99 dB\n\n{CARD_MARKS[1]}\n\nafter\n")
    return path


def test_the_card_on_file_is_what_its_figures_give(root):
    text = (root / "bundle" / "docs" / "README.md").read_text(encoding="utf-8")
    on_file = text.partition(CARD_MARKS[0])[2].partition(CARD_MARKS[1])[0].strip()
    assert on_file == figures_block(read_figures(root / "bundle" / "docs" / "figures.json"))


def test_the_card_states_no_performance_outside_the_block(root):
    text = (root / "bundle" / "docs" / "README.md").read_text(encoding="utf-8")
    outside = text.partition(CARD_MARKS[0])[0] + text.partition(CARD_MARKS[1])[2]
    known = {"4.29 dB"}  # between two peaks, a definition
    assert set(re.findall(r"\d+\.\d+ dB", outside)) <= known
    for word in ("SSIM 0", "Dice 0", "| 2"):
        assert word not in outside


def test_the_figures_in_the_file_are_of_the_weights_that_come_with_the_project(root):
    """Where other weights are put in place, `python -m reports card` has to be run on their evaluation."""
    content = read_figures(root / "bundle" / "docs" / "figures.json")
    assert content["model"]["sha256"] == digest_of(root / "bundle" / "models" / "starter.pt")


def test_the_block_holds_means_and_intervals(folder, tmp_path):
    path = card(tmp_path)
    assert write_card(folder, path, ["One patient chose the weights."]) == [tmp_path / "figures.json", path]
    text = path.read_text()
    assert text.startswith("# Card\n\nbefore\n")
    assert text.endswith("after\n")
    assert "99.99" not in text
    assert "One patient chose the weights." in text
    interval = bootstrap_interval([figures(half(n), chests()[n])["psnr_db"] for n in range(3)], NAMES)
    row = next(line for line in text.splitlines() if line.startswith("| PSNR of the volume, dB |"))
    assert row.split("|")[2].strip() == f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"
    assert "3 held-out cases of 3 patients" in text
    assert "| left is left | passed |" in text
    again = path.read_text()
    write_card(tmp_path / "figures.json", path)
    assert path.read_text() == again


def test_each_prediction_that_was_compared_has_a_column(folder):
    content = card_figures(folder)
    for control in ("without_update", "nearest_case"):
        content["measures"]["psnr_db"][control] = [15.25, 15.0, 15.5, 3]
    block = figures_block(content)
    head = next(line for line in block.splitlines() if line.startswith("| measure"))
    row = next(line for line in block.splitlines() if line.startswith("| PSNR"))
    for title in ("the same, before the update", "nearest training case"):
        assert row.split("|")[head.split("|").index(f" {title} ")].strip() == "15.25 (15.00 to 15.50)"


def test_no_case_is_named(folder, tmp_path):
    (folder / "volumes" / f"{NAMES[0]}.nii.gz").rename(tmp_path / "kept.nii.gz")
    made = json.dumps(card_figures(folder))
    (tmp_path / "kept.nii.gz").rename(folder / "volumes" / f"{NAMES[0]}.nii.gz")
    assert "some cases are not; the report of the evaluation names them" in made
    assert not [name for name in NAMES[:2] if name in made]


def test_one_case_has_no_interval(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    block = figures_block(card_figures(write_evaluation(run, half, names=("a",))))
    row = next(line for line in block.splitlines() if line.startswith("| PSNR"))
    assert row.split("|")[2].strip() == f"{figures(half(0), chests()[0])['psnr_db']:.2f}"


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot be read"), ("# no marks", "has no place for figures; put <!-- figures")]
)
def test_a_card_without_a_place_is_refused_and_nothing_is_written(folder, tmp_path, text, words):
    path = tmp_path / "README.md"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words):
        write_card(folder, path)
    assert not (tmp_path / "figures.json").exists()


def test_figures_of_another_form_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no such evaluation or file of figures"):
        read_figures(tmp_path / "absent")
    for text, words in (("{", "cannot be read"), ("{}", "is not of the form 'x2ct-figures 1'")):
        (tmp_path / "figures.json").write_text(text)
        with pytest.raises(InputError, match=words):
            read_figures(tmp_path / "figures.json")
