"""No name, day or identifier of a filled header appears in any output."""

import json
import logging

import pytest

from conventions import MARK_TAGS, InputError, mark
from storage import to_json
from tests.readers.radiographs.film_files import IDENTIFYING, compress, dataset, says, stored, thorax, write
from transforms import ReadRadiograph, ReadRadiographd

PIXELS = stored(thorax((400, 350)))
WORDS = {word for value in IDENTIFYING.values() for word in (value, *value.replace("^", " ").split())} - {
    "of",
    "upright",
}


def outputs(image, caplog):
    return "\n".join(
        [*image.meta["record"].lines(), to_json(image.meta["record"].to_list()), caplog.text, repr(image.meta)]
    )


def assert_nobody(text):
    assert not [word for word in WORDS if word.lower() in text.lower()]


TAGS = {
    "plain": {},
    "all doubts": {
        "ViewPosition": "AP",
        "BurnedInAnnotation": "YES",
        "WindowCenter": 100,
        "WindowWidth": 0,
        "PatientOrientation": ["L", "R"],
        "ImagerPixelSpacing": [9, 9],
        "PixelPaddingValue": 0,
        "PixelPaddingRangeLimit": 4095,
    },
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS.keys())
@pytest.mark.parametrize("compressed", [pytest.param(False, id="plain"), pytest.param(True, id="compressed")])
def test_nothing_of_a_filled_header_appears(tmp_path, caplog, capfd, tags, compressed):
    caplog.set_level(logging.DEBUG)
    path = write(tmp_path / "a.dcm", PIXELS, **{**IDENTIFYING, **tags})
    if compressed:
        compress(path, "JPEGLosslessProcess14_1")
        caplog.clear()
        capfd.readouterr()
    image = ReadRadiograph()(path)
    assert_nobody(outputs(image, caplog))
    assert_nobody("".join(capfd.readouterr()))


def hidden(**values):
    """A film with names where codes belong."""
    made = dataset(PIXELS, **IDENTIFYING)
    for keyword, value in values.items():
        made.add_new(keyword, "LO", value)
    return made


@pytest.mark.parametrize(
    "values",
    [
        {"ViewPosition": "Xanthippe Zebulon"},
        {"PresentationLUTShape": "Xanthippe Zebulon"},
        {"VOILUTFunction": "Xanthippe Zebulon", "WindowCenter": "2000", "WindowWidth": "3000"},
        {"ImagerPixelSpacing": ["Xanthippe", "Zebulon"]},
        {"PatientOrientation": ["Xanthippe", "Zebulon"]},
        {"ShutterShape": "Xanthippe Zebulon"},
        {"PixelSpacingCalibrationType": "Xanthippe Zebulon"},
        {"WindowCenter": "Xanthippe", "WindowWidth": "Zebulon"},
        {"DistanceSourceToDetector": "Xanthippe", "DistanceSourceToPatient": "Zebulon"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_names_where_codes_belong_do_not_appear(tmp_path, caplog, values):
    hidden(**values).save_as(tmp_path / "a.dcm")
    caplog.clear()
    image = ReadRadiograph()(tmp_path / "a.dcm")
    assert_nobody(outputs(image, caplog))


@pytest.mark.parametrize(
    "values",
    [
        {"Modality": "Xanthippe"},
        {"Modality": "Xanthippe Zebulon"},
        {"PhotometricInterpretation": "Xanthippe Zebulon"},
        {"Rows": "Xanthippe"},
        {"SOPClassUID": IDENTIFYING["StudyInstanceUID"], "Modality": "CT"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_names_do_not_appear_in_errors(tmp_path, caplog, values):
    hidden(**values).save_as(tmp_path / "a.dcm")
    with pytest.raises(InputError) as caught:
        ReadRadiograph()(tmp_path / "a.dcm")
    assert_nobody(str(caught.value) + caplog.text)


def test_names_in_a_mark_do_not_appear(tmp_path, caplog):
    said = json.loads(mark("computed_radiograph", {"geometry": "chest"}))
    said |= {"view": "Xanthippe Zebulon", "curve": "Xanthippe", "PatientID": IDENTIFYING["PatientID"]}
    made = dataset(PIXELS, **IDENTIFYING)
    made.add_new(MARK_TAGS[0], "LO", "X2CT")
    made.add_new(MARK_TAGS[1], "UT", json.dumps(said))
    made.save_as(tmp_path / "a.dcm")
    caplog.clear()
    image = ReadRadiograph()(tmp_path / "a.dcm")
    assert image.meta["computed"].geometry == "chest"
    assert_nobody(outputs(image, caplog))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        pytest.param({}, None, id="one patient and day"),
        pytest.param({"PatientID": "MRN-23421614"}, "of different patients", id="two patients"),
        pytest.param({"StudyDate": "20190901"}, "of different days", id="two days"),
    ],
)
def test_films_that_do_not_belong_together_are_doubted_without_a_name(tmp_path, caplog, other, words):
    lateral = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}
    paths = [
        write(tmp_path / "pa.dcm", PIXELS, **IDENTIFYING),
        write(tmp_path / "lateral.dcm", stored(thorax((400, 350), "lateral")), **{**IDENTIFYING, **lateral, **other}),
    ]
    films = ReadRadiographd("image")({"image": paths})["image"]
    for film in films:
        assert says(film, "doubt", "pair", words or "") == (words is not None)
        assert_nobody(outputs(film, caplog))
        assert "23421614" not in outputs(film, caplog)
        assert not any("key" in key for key in film.meta)
