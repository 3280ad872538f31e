"""Copies of films: the same film without a word that names a person."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from conventions import InputError, View
from readers import ReadOptions, copy_film, read_films
from tests.readers.radiographs.film_files import (
    DX_PROCESSING,
    IDENTIFYING,
    compress,
    dataset,
    lut_item,
    stored,
    thorax,
    write,
)

PIXELS = stored(thorax((400, 350)))
GAMMA = np.rint(255 * (np.arange(4096) / 4095) ** 0.7)
KINDS = {
    "plain": {},
    "window": {"WindowCenter": ["1500", "2000"], "WindowWidth": ["1800", "2400"], "VOILUTFunction": "SIGMOID"},
    "VOI table": {"VOILUTSequence": [lut_item(GAMMA, 8)]},
    "modality table": {"ModalityLUTSequence": [lut_item(GAMMA, 8)]},
    "inverse": {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
    "for processing": {"SOPClassUID": DX_PROCESSING, "PresentationIntentType": "FOR PROCESSING",
                       "PixelIntensityRelationship": "LIN", "PixelIntensityRelationshipSign": 1},
    "shutter": {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": 20, "ShutterRightVerticalEdge": 330,
                "ShutterUpperHorizontalEdge": 30, "ShutterLowerHorizontalEdge": 380, "PixelPaddingValue": 0},
    "oblong": {"ImagerPixelSpacing": ["0.35123456789012", "0.7"], "PatientOrientation": ["R", "F"]},
    "implicit": {"syntax": ImplicitVRLittleEndian, "PixelPaddingValue": 0, "VOILUTSequence": [lut_item(GAMMA, 8)]},
    "distances": {"DistanceSourceToDetector": 1800, "DistanceSourceToPatient": 1500, "PixelSpacing": [0.3, 0.3]},
}  # fmt: skip


def read(path, view=View.PA):
    (film,) = read_films(path, [view], ReadOptions(without_preamble=True), log=None)
    return film


def copied(path, tmp_path, view=View.PA):
    film = read(path, view)
    copy_film(path, film, tmp_path / "copy.dcm")
    return film, read(tmp_path / "copy.dcm", view)


def nobody(path):
    """Check that no word of the filled header is in a file, as bytes."""
    content = path.read_bytes().lower()
    words = {word for value in IDENTIFYING.values() for word in (value, *value.replace("^", " ").split())}
    assert not [word for word in words - {"of", "upright"} if word.lower().encode() in content]


@pytest.mark.parametrize("tags", KINDS.values(), ids=KINDS.keys())
def test_it_is_read_as_the_same_film(tmp_path, tags):
    film, again = copied(write(tmp_path / "a.dcm", PIXELS, **{**IDENTIFYING, **tags}), tmp_path)
    np.testing.assert_array_equal(again.pixels, film.pixels)
    assert (again.spacing, again.magnification, again.tagged) == (film.spacing, film.magnification, film.tagged)
    assert again.record.to_list() == film.record.to_list()
    nobody(tmp_path / "copy.dcm")


def test_the_stored_pixels_stay_as_another_program_reads_them(tmp_path):
    source = write(tmp_path / "a.dcm", PIXELS, **IDENTIFYING)
    compress(source, "JPEGLosslessProcess14_1")
    copied(source, tmp_path)
    copy = pydicom.dcmread(tmp_path / "copy.dcm")
    np.testing.assert_array_equal(copy.pixel_array, PIXELS)
    assert (copy.PatientName, copy.PatientID, copy.PatientIdentityRemoved) == ("", "", "YES")
    assert not {"StudyDate", "StudyInstanceUID", "SeriesInstanceUID", "InstitutionName"} & set(copy.dir())
    nobody(tmp_path / "copy.dcm")


def test_a_file_without_preamble_gets_one(tmp_path):
    whole = write(tmp_path / "a.dcm", PIXELS, **IDENTIFYING)
    bare = tmp_path / "bare"
    bare.write_bytes(whole.read_bytes()[132:])
    film, again = copied(bare, tmp_path)
    np.testing.assert_array_equal(again.pixels, film.pixels)
    assert (tmp_path / "copy.dcm").read_bytes()[128:132] == b"DICM"


@pytest.mark.parametrize(
    "values",
    [
        {"ViewPosition": "Xanthippe Zebulon"},
        {"ViewPosition": "P.A. 48151623"},
        {"PresentationLUTShape": "Xanthippe Zebulon"},
        {"VOILUTFunction": "Xanthippe Zebulon"},
        {"ImagerPixelSpacing": ["Xanthippe", "Zebulon"]},
        {"PatientOrientation": ["RALPH", "F"]},
        {"SOPClassUID": IDENTIFYING["StudyInstanceUID"]},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_name_where_a_code_belongs_is_left_out(tmp_path, values):
    made = dataset(PIXELS, **IDENTIFYING)
    for keyword, value in values.items():
        made.add_new(keyword, "UI" if keyword == "SOPClassUID" else "LO", value)
    made.save_as(tmp_path / "a.dcm")
    film, again = copied(tmp_path / "a.dcm", tmp_path)
    np.testing.assert_array_equal(again.pixels, film.pixels)
    nobody(tmp_path / "copy.dcm")
    assert b"48151623" not in (tmp_path / "copy.dcm").read_bytes()
    assert b"RALPH" not in (tmp_path / "copy.dcm").read_bytes()


def test_the_same_film_gives_the_same_bytes(tmp_path):
    source = write(tmp_path / "a.dcm", PIXELS)
    copied(source, tmp_path)
    first = (tmp_path / "copy.dcm").read_bytes()
    copied(source, tmp_path)
    assert (tmp_path / "copy.dcm").read_bytes() == first


def test_a_copy_of_another_film_is_not_written(tmp_path):
    source = write(tmp_path / "a.dcm", PIXELS)
    other = read(write(tmp_path / "b.dcm", PIXELS[::-1]))
    with pytest.raises(InputError, match=r"a\.dcm: is not the same film without the tags"):
        copy_film(source, other, tmp_path / "copy.dcm")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.dcm", "b.dcm"]
