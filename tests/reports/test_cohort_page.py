"""The page of a prepared cohort."""

import json
import re

import pytest

from cohort import PrepareOptions, prepare_cohort
from cohort.phantoms import write_phantoms
from conventions import InputError
from reports import write_cohort_page


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    write_phantoms(folder / "in", 2, size=64, workers=1)
    return prepare_cohort(folder / "in", folder / "out", PrepareOptions(spacing=5.0))


def test_it_shows_every_case_and_needs_no_network(prepared):
    page = write_cohort_page(prepared.manifest, [("/data/ward 3/<b>.nii", "/data/ward 3/<b>.nii: is broken")])
    text = page.read_text()
    assert text.count("<img ") == text.count("data:image/png;base64,") == 2
    assert re.findall(r"<b>(\w+)</b>", text) == ["phantom_0000", "phantom_0001"]
    assert "2 CTs of 2 patients" in text
    assert "://" not in text
    assert "ward" not in text
    assert "&lt;b&gt;.nii: is broken" in text


def test_pictures_are_drawn_once(prepared):
    write_cohort_page(prepared.manifest)
    pictures = sorted((prepared.manifest.parent / "thumbnails").iterdir())
    stamps = [file.stat().st_mtime_ns for file in pictures]
    assert len(pictures) == 2
    write_cohort_page(prepared.manifest)
    assert [file.stat().st_mtime_ns for file in pictures] == stamps


def test_what_is_cut_and_doubted_is_flagged(prepared, tmp_path):
    content = json.loads(prepared.manifest.read_text())
    content["cases"][0].update(cut=["apices"], decisions=[{"kind": "doubt", "subject": "HU", "text": "1 < 2"}])
    changed = prepared.manifest.with_name("changed.json")
    changed.write_text(json.dumps(content))
    text = write_cohort_page(changed, name="changed.html").read_text()
    assert "apices cut" in text
    assert "HU: 1 &lt; 2" in text
    assert text.count(">phantom</span>") == 2


def test_another_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"cases": [{"case": "a", "fold": "train"}]}))
    with pytest.raises(InputError, match=r"is not the manifest of a prepared cohort .*; run cohort prepare"):
        write_cohort_page(tmp_path / "manifest.json")
