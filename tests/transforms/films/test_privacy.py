"""Nothing that names a person, a day or an identifier comes out of a filled header."""

import logging

import numpy as np
import pytest

from conventions import InputError, to_json
from tests.transforms.films.film_files import IDENTIFYING, compress, dataset, says, stored, thorax, write
from transforms import ReadRadiograph, ReadRadiographd

PIXELS = stored(thorax((400, 350)))
WORDS = {word for value in IDENTIFYING.values() for word in (value, *value.replace("^", " ").split())} - {
    "of",
    "upright",
}


def told(image, caplog):
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
@pytest.mark.parametrize("compressed", [False, True])
def test_a_filled_header_is_not_told(tmp_path, caplog, capfd, tags, compressed):
    caplog.set_level(logging.DEBUG)
    path = write(tmp_path / "a.dcm", PIXELS, **{**IDENTIFYING, **tags})
    if compressed:
        compress(path, "JPEGLosslessProcess14_1")
        caplog.clear()
        capfd.readouterr()
    image = ReadRadiograph()(path)
    assert_nobody(told(image, caplog))
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
    ],
    ids=lambda values: next(iter(values)),
)
def test_names_where_codes_belong_are_not_told(tmp_path, caplog, values):
    hidden(**values).save_as(tmp_path / "a.dcm")
    caplog.clear()
    image = ReadRadiograph()(tmp_path / "a.dcm")
    assert_nobody(told(image, caplog))


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
def test_names_are_not_told_in_errors(tmp_path, caplog, values):
    hidden(**values).save_as(tmp_path / "a.dcm")
    with pytest.raises(InputError) as caught:
        ReadRadiograph()(tmp_path / "a.dcm")
    assert_nobody(str(caught.value) + caplog.text)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({}, None),
        ({"PatientID": "MRN-23421614"}, "of different patients"),
        ({"StudyDate": "20190901"}, "of different days"),
    ],
    ids=["same", "42 patients", "42 days"],
)
def test_films_that_do_not_belong_together_are_doubted_without_a_name(tmp_path, caplog, other, words):
    lateral = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}
    paths = [
        write(tmp_path / "pa.dcm", PIXELS, **IDENTIFYING),
        write(tmp_path / "lateral.dcm", PIXELS, **{**IDENTIFYING, **lateral, **other}),
    ]
    films = ReadRadiographd("image")({"image": paths})["image"]
    for film in films:
        assert says(film, "doubt", "pair", words or "") == (words is not None)
        assert_nobody(told(film, caplog))
        assert "23421614" not in told(film, caplog)
        assert not any("key" in key for key in film.meta)
    np.testing.assert_array_equal(films[0], films[1])
