import pydicom
import pytest

from conventions import View
from drr import VIEW_POSITIONS
from readers.radiographs.dicom import study_and_view
from tests.readers.radiographs.film_files import read, says, stored, thorax, write

PIXELS = stored(thorax())


def code(value, scheme="SCT"):
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "a view"
    return {"ViewPosition": None, "PatientOrientation": None, "ViewCodeSequence": [item]}


LEFT = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}
NOTHING = {"ViewPosition": None, "PatientOrientation": None}


@pytest.mark.parametrize(
    ("tags", "view", "kind", "words"),
    [
        pytest.param({}, "pa", "found", "PA", id="PA"),
        pytest.param({"ViewPosition": "AP"}, "pa", "doubt", "AP, which the model is not made for", id="AP"),
        pytest.param({"ViewPosition": "RAO"}, "pa", "doubt", "oblique", id="oblique"),
        pytest.param(LEFT, "pa", "doubt", "given as pa, but the tags say left", id="lateral given as PA"),
        pytest.param(LEFT, "lateral", "found", "left side at the detector", id="left lateral"),
        pytest.param(NOTHING, "lateral", "assumed", "taken for lateral as asked", id="nothing stated"),
        pytest.param({**NOTHING, "ViewPosition": "QUETZAL"}, "pa", "doubt", "holds an unknown term", id="unknown term"),
        pytest.param(
            {"ViewPosition": None, "PatientOrientation": ["P", "F"]},
            "pa",
            "doubt",
            "lateral by PatientOrientation",
            id="orientation alone",
        ),
        pytest.param(
            {"PatientOrientation": ["P", "F"]},
            "pa",
            "doubt",
            "PatientOrientation is that of a lateral film",
            id="orientation against position",
        ),
        pytest.param(code("399348003"), "pa", "doubt", "AP", id="SNOMED CT code of AP"),
        pytest.param(code("R-10206", "SRT"), "pa", "doubt", "AP", id="SNOMED-RT code of AP"),
        pytest.param(code("272479007"), "pa", "found", "PA", id="code of PA"),
        pytest.param(code("399198007"), "lateral", "found", "right lateral", id="code of a right lateral"),
    ],
)
def test_what_the_tags_say_about_the_view(tmp_path, tags, view, kind, words):
    image = read(write(tmp_path / "a.dcm", PIXELS, **tags), view)
    assert image.meta["view"] == view
    assert says(image, kind, "view", words)
    if "given as" in words:
        assert image.meta["record"].doubts[-1].confidence == 1


@pytest.mark.parametrize(
    ("position", "view"),
    [
        *((term, View.PA if pose in ("pa", "ap") else View.LATERAL) for term, pose in VIEW_POSITIONS.items()),
        (" lateral ", View.LATERAL),
        ("lat", View.LATERAL),
        ("Left Lateral", View.LATERAL),
        ("R LAT", View.LATERAL),
        ("POSTERO-ANTERIOR", View.PA),
        ("antero-posterior", View.PA),
        ("P.A.", View.PA),
        ("Frontal", View.PA),
        ("AP AXIAL", View.PA),
        pytest.param("RLD", None, id="decubitus"),
        pytest.param("PA LLD", None, id="PA decubitus"),
        pytest.param("LAO", None, id="oblique"),
        pytest.param("QUETZAL", None, id="unknown"),
        pytest.param("", None, id="empty"),
    ],
)
def test_the_view_that_a_term_states(tmp_path, position, view):
    path = write(tmp_path / "a.dcm", PIXELS, ViewPosition=position, PatientOrientation=None, StudyInstanceUID="1.9.1")
    assert study_and_view(path) == ("1.9.1", view)


@pytest.mark.parametrize(
    ("tags", "view"),
    [
        (code("272479007"), View.PA),
        (code("399173006"), View.LATERAL),
        (code("R-10202", "SRT"), View.PA),
        ({**code("399173006"), "ViewPosition": "PA"}, View.PA),
        ({**NOTHING, "PatientOrientation": ["A", "F"]}, View.LATERAL),
        ({**NOTHING, "PatientOrientation": ["L", "F"]}, View.PA),
        (NOTHING, None),
    ],
)
def test_the_view_that_other_tags_state(tmp_path, tags, view):
    assert study_and_view(write(tmp_path / "a.dcm", PIXELS, **tags)) == ("", view)


def test_a_file_that_is_not_dicom_has_neither_study_nor_view(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x" * 200)
    assert study_and_view(tmp_path / "a.png") == (None, None)
