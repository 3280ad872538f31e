import dataclasses
import json
import tomllib

import pytest

from conventions import DRR_STATEMENT, SYNTHETIC_STATEMENT, Mark, MarkKind, mark, read_mark
from conventions.provenance import DRR_NOTE, MAX_LENGTH, SOFTWARE, SYNTHETIC_NOTE, VERSION

DRR = {"geometry": "chest", "curve": "water", "film_style": "linear", "view": "oblique_-22.5"}
MODEL = {"geometry": "x2ct", "view": "pa,lateral", "model": "x2ct_biplanar", "sha256": "0f" * 32}


@pytest.mark.parametrize(
    ("kind", "details", "statement", "made_of"),
    [
        pytest.param("computed_radiograph", DRR, DRR_STATEMENT, "ct", id="DRR"),
        pytest.param("synthetic_ct", MODEL, SYNTHETIC_STATEMENT, "radiographs", id="synthetic CT"),
    ],
)
def test_a_mark_is_read_as_it_was_written(kind, details, statement, made_of):
    text = mark(kind, details)
    assert text.isascii()
    assert "\n" not in text
    said = json.loads(text)
    assert (said["kind"], said["statement"], said["made_of"]) == (kind, statement, made_of)
    assert said["made_by"] == {"software": SOFTWARE, "version": VERSION}
    assert read_mark(text) == Mark(kind=MarkKind(kind), software=SOFTWARE, version=VERSION, **details)
    assert read_mark(text.encode() + b"\0 ") == read_mark(text)


def test_what_is_not_stated_is_left_out():
    said = json.loads(mark(MarkKind.COMPUTED_RADIOGRAPH))
    assert set(said) == {"x2ct_mark", "kind", "statement", "made_of", "made_by"}
    assert read_mark(json.dumps(said)).geometry == ""


IDENTIFYING = (
    "Quetzal^Xanthippe",
    "Xanthippe Zebulon",
    "MRN-48151623",
    "48151623",
    "20190817",
    "2019.08.17",
    "1.3.6.1",
)
"""Names, numbers and days as files hold them."""


@pytest.mark.parametrize("value", [*IDENTIFYING, "a" * 200, "", 7, None, ["pa"], {"pa": 1}, True], ids=repr)
def test_what_is_no_technical_word_is_neither_written_nor_read(value):
    names = [field.name for field in dataclasses.fields(Mark) if field.name != "kind"]
    filled = dict.fromkeys(names, value)
    assert mark("synthetic_ct", filled) == mark("synthetic_ct")
    said = {"x2ct_mark": 1, "kind": "synthetic_ct", **filled, "made_by": {"software": value, "version": value}}
    assert read_mark(json.dumps(said)) == Mark(kind=MarkKind.SYNTHETIC_CT)


def test_entries_that_a_mark_does_not_hold_are_dropped():
    assert "Quetzal" not in mark("computed_radiograph", {**DRR, "ct": "Quetzal.nii.gz", "statement": "Quetzal"})
    said = {**json.loads(mark("computed_radiograph", DRR)), "PatientName": "Quetzal", "statement": "Quetzal"}
    found = read_mark(json.dumps(said))
    assert found == read_mark(mark("computed_radiograph", DRR))
    assert found.statement == DRR_STATEMENT


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="nothing"),
        pytest.param(7, id="number"),
        pytest.param("", id="empty"),
        pytest.param("no JSON", id="no JSON"),
        pytest.param(b"\xff\xfe\0", id="bytes"),
        pytest.param("[]", id="list"),
        pytest.param("null", id="null"),
        pytest.param("[" * (MAX_LENGTH - 1), id="deeply nested"),
        pytest.param(json.dumps({"x2ct_mark": 1, "kind": "computed_radiograph", "x": "x" * MAX_LENGTH}), id="long"),
        pytest.param(json.dumps({"kind": "computed_radiograph"}), id="no format"),
        pytest.param(json.dumps({"x2ct_mark": 1}), id="no kind"),
        pytest.param(json.dumps({"x2ct_mark": 1, "kind": "sculpture"}), id="unknown kind"),
        pytest.param(json.dumps({"x2ct_mark": 1, "kind": ["computed_radiograph"]}), id="list of kinds"),
        pytest.param(json.dumps({"computed_from_ct": "yes"}), id="a word for true"),
        pytest.param(json.dumps({"geometry": "x2ct"}), id="geometry alone"),
    ],
)
def test_anything_else_is_no_mark(text):
    assert read_mark(text) is None


def test_a_broken_made_by_costs_only_itself():
    said = {**json.loads(mark("computed_radiograph", DRR)), "made_by": "us"}
    assert read_mark(json.dumps(said)) == Mark(kind=MarkKind.COMPUTED_RADIOGRAPH, **DRR)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            {"statement": "...", "geometry": "x2ct", "curve": "plastimatch", "film": "x2ct", "view": "pa"},
            {"geometry": "x2ct", "curve": "plastimatch", "film_style": "x2ct", "view": "pa"},
            id="PNG",
        ),
        pytest.param({"film": "film"}, {"film_style": "logistic"}, id="the style that is now logistic"),
        pytest.param(
            {"name": "left_lateral", "view": {"sdd": 1800}, "geometry": "chest", "film": "linear", "ct": "Quetzal.nii"},
            {"view": "left_lateral", "geometry": "chest", "film_style": "linear"},
            id="sidecar",
        ),
    ],
)
def test_what_version_0_1_wrote_is_read(said, expected):
    found = read_mark(json.dumps({"computed_from_ct": True, **said}))
    assert found == Mark(kind=MarkKind.COMPUTED_RADIOGRAPH, **expected)


def test_an_unknown_kind_cannot_be_written():
    with pytest.raises(ValueError, match="sculpture"):
        mark("sculpture")


def test_the_version_is_that_of_the_project(root):
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_notes_fit_the_field_of_a_nifti_header():
    assert max(len(note.encode()) for note in (DRR_NOTE, SYNTHETIC_NOTE)) < 80
