"""The page of an evaluation and the comparison of two, read without a browser."""

import html
import json
import re

import numpy as np
import pytest

from conventions import SYNTHETIC_STATEMENT, InputError
from metrics import PROTOCOLS, paired_difference
from reports import write_comparison_page, write_evaluation_page
from reports.definitions import PROTOCOL_WORDS
from tests.reports.evaluations import chests, figures, mean_volume, write_evaluation
from tests.reports.test_case_page import Balanced

NAMES = ("a & <i>", "b", "c")


def half(number):
    return 0.5 * chests()[number] + 0.5 * mean_volume()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_evaluation(tmp_path_factory.mktemp("run"), half, names=NAMES)
    (folder / "pages").mkdir()
    (folder / "pages" / f"{NAMES[0]}.html").touch()
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return write_evaluation_page(folder).read_text()


def rows(page):
    """First cell of a row -> the other cells, the first time that it stands on the page."""
    found = {}
    for cells in re.findall(r"<tr><td>(.*?)</tr>", page):
        first, *others = re.split(r"</td><td[^>]*>|</td>", cells)
        found.setdefault(re.sub("<.*?>", "", first), others[:-1])
    return found


def test_it_is_well_formed_escaped_and_needs_no_network(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "://" not in page
    assert "<i>b" not in page
    assert "network &lt;raylift&gt;" in page
    addresses = [attrs[name] for _, attrs in parser.tags for name in ("src", "href") if name in attrs]
    links = [address for address in addresses if not address.startswith("data:image/png;base64,")]
    assert set(links) == {"pages/a%20%26%20%3Ci%3E.html"}
    body = page[page.index("<body>") :]
    assert body.index(SYNTHETIC_STATEMENT) < body.index("<h1>Evaluation</h1>")
    assert len(page) < 2e6


def test_figures_have_intervals_and_paired_differences(page):
    own, control = (
        [figures(made(n), chests()[n])["psnr_db"] for n in range(3)] for made in (half, lambda n: mean_volume())
    )
    difference = paired_difference(own, control, NAMES)
    psnr = rows(page)["psnr_db, dB"]
    assert psnr[0].startswith(f"{np.mean(own):.2f} (")
    assert psnr[3] == f"{difference.mean:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"
    assert "Protocol x2ct-bundle, version 1" in page
    assert "Protocol clinical, version 1" in page


def test_protocols_share_no_table(page):
    for part in re.findall(r"<table.*?</table>", page, re.S):
        assert not ("psnr_db" in part and "reprojection_shown" in part)


def test_it_says_where_limits_come_from_and_what_each_protocol_is(page):
    assert set(PROTOCOL_WORDS) == set(PROTOCOLS)
    box = page.partition("Where the limits of flags and counts come from")[2]
    for words in ("at least 75 % as strong as the true ones", "0.1 cycles per voxel. That frequency is a choice"):
        assert words in box


def test_a_mean_over_some_cases_says_of_how_many(tmp_path):
    folder = write_evaluation(tmp_path, half)
    content = json.loads((folder / "evaluation.json").read_text())
    for row in content["values"]:
        if (row["case"], row["measure"], row["compared"]) == ("b", "psnr_db", "prediction"):
            row["value"] = None
    (folder / "evaluation.json").write_text(json.dumps(content))
    assert rows(write_evaluation_page(folder).read_text())["psnr_db, dB"][0].endswith("), 2 of 3 cases")


def test_worst_median_and_best_are_shown_with_pictures(page):
    psnr = {name: figures(half(n), chests()[n])["psnr_db"] for n, name in enumerate(NAMES)}
    order = sorted(psnr, key=psnr.__getitem__)
    heads = re.findall(r"<h3>((?:worst|median|best): .*?), ", page)
    assert [html.unescape(head).split(": ")[1] for head in heads] == order
    assert page.count('alt="true CT, coronal"') == page.count('alt="synthetic CT, axial"') == 3


def test_one_case_has_figures_and_no_interval(tmp_path):
    page = write_evaluation_page(write_evaluation(tmp_path, half, names=("a",))).read_text()
    assert rows(page)["psnr_db, dB"][0] == f"{figures(half(0), chests()[0])['psnr_db']:.2f}"
    assert "one case alone: there are no intervals" in page


def test_an_earlier_page_is_kept(tmp_path):
    folder = write_evaluation(tmp_path, half)
    for _ in range(2):
        write_evaluation_page(folder)
    assert len(list(folder.glob("report*.html"))) == 2


@pytest.fixture(scope="module")
def better(tmp_path_factory):
    """The evaluation of a model that is better in every case, its cases in another order."""
    folder = write_evaluation(tmp_path_factory.mktemp("other"), lambda n: 0.8 * chests()[n] + 0.2 * mean_volume())
    record = json.loads((folder / "evaluation.json").read_text())
    text = json.dumps({**record, "cases": record["cases"][::-1]})
    for short, name in zip("abc", NAMES, strict=True):
        text = text.replace(f'"{short}"', json.dumps(name))
    (folder / "evaluation.json").write_text(text)
    return folder


def test_two_runs_are_compared_case_by_case(folder, better, tmp_path):
    page = write_comparison_page(folder, better, tmp_path / "c.html").read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "://" not in page
    own, other = (
        [figures(weight * chests()[n] + (1 - weight) * mean_volume(), chests()[n])["psnr_db"] for n in range(3)]
        for weight in (0.5, 0.8)
    )
    difference = paired_difference(own, other, NAMES)
    psnr = rows(page)["psnr_db, dB"]
    assert psnr[2] == f"{difference.mean:+.2f} ({difference.low:+.2f} to {difference.high:+.2f})"
    assert psnr[3] == rows(page)["mae_hu, HU"][3] == "second"
    assert rows(page)["b"][0] == f"{own[1] - other[1]:+.2f}"


def test_a_model_is_no_better_than_itself(folder, tmp_path):
    page = write_comparison_page(folder, folder, tmp_path / "c.html").read_text()
    assert rows(page)["psnr_db, dB"][2:] == ["+0.00 (+0.00 to +0.00)", "open"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: record["cases"].append({"case": "d", "patient": "d"}), "was evaluated on other cases"),
        (lambda record: record["cases"][0].update(patient="x"), "assigns cases to other patients"),
        (lambda record: record["measures"]["psnr_db"].update(version="2"), "defines psnr_db in another way"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(folder, tmp_path, change, words):
    record = json.loads((folder / "evaluation.json").read_text())
    change(record)
    (tmp_path / "evaluation.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=words):
        write_comparison_page(folder, tmp_path, tmp_path / "c.html")
    assert not (tmp_path / "c.html").exists()
