"""Which files of an archive form which CT series, and which are films."""

from datetime import date

from pydicom.uid import ImplicitVRLittleEndian

from conventions import View
from readers import find_dicom
from tests.readers.ct.ct_files import even_positions, write_enhanced, write_series
from tests.readers.radiographs.film_files import stored, thorax, write

PIXELS = stored(thorax((100, 90)))


def of(patient, day="20240229", **tags):
    def change(made, _):
        made.PatientID, made.StudyDate = patient, day
        for keyword, value in tags.items():
            setattr(made, keyword, value)

    return change


def below(folder):
    return sorted(file for file in folder.rglob("*") if file.is_file())


def without_preamble(folder):
    """Take the first 132 bytes off each file, which leaves group 2 at the beginning."""
    for file in below(folder):
        file.write_bytes(file.read_bytes()[132:])


def test_series_are_found_across_folders_with_patient_and_day(tmp_path):
    write_series(tmp_path / "a", even_positions(4), uid="2.25.31", change=of("Doe"))
    write_series(tmp_path / "b", even_positions(3), uid="2.25.31", change=of("Doe"), names=["x", "y", "z"])
    write_series(tmp_path / "c", even_positions(2), uid="2.25.32", change=of("Roe", "2024.03.01"))
    found = find_dicom(below(tmp_path))
    assert [(one.uid, one.patient, one.frames, len(one.files)) for one in found.series] == [
        ("2.25.31", "Doe", 7, 7), ("2.25.32", "Roe", 2, 2)
    ]  # fmt: skip
    assert [one.date for one in found.series] == [date(2024, 2, 29), date(2024, 3, 1)]
    assert "Doe" not in repr(found)
    assert "2.25." not in repr(found)
    assert "2024" not in repr(found)


def test_scouts_other_modalities_and_stray_files_form_no_series(tmp_path):
    write_series(tmp_path, even_positions(3), change=of("Doe"))
    write_series(
        tmp_path / "scout", even_positions(1), change=of("Doe", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    )
    write_series(tmp_path / "pet", even_positions(2), change=of("Doe", Modality="PT"))
    write_series(tmp_path / "seg", even_positions(1), change=of("Doe", Modality="SEG",
                 SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"))  # fmt: skip
    (tmp_path / "notes.txt").write_text("a note")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "archive.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    found = find_dicom(below(tmp_path))
    assert [one.frames for one in found.series] == [3]
    assert not found.films


def test_files_without_preamble_count(tmp_path):
    write_series(tmp_path / "a", even_positions(4), uid="2.25.31", change=of("Doe"))
    write_series(tmp_path / "b", even_positions(4), uid="2.25.32", syntax=ImplicitVRLittleEndian, change=of("Doe"))
    write(tmp_path / "film", PIXELS, PatientID="Doe")
    without_preamble(tmp_path)
    found = find_dicom(below(tmp_path))
    assert [(one.uid, one.frames) for one in found.series] == [("2.25.31", 4), ("2.25.32", 4)]
    assert [one.patient for one in found.films] == ["Doe"]


def test_frames_of_one_file_are_counted(tmp_path):
    write_enhanced(tmp_path / "one.dcm")
    assert [one.frames for one in find_dicom(below(tmp_path)).series] == [31]


def test_films_with_the_view_that_they_state(tmp_path):
    stated = {"a": {}, "b": {"ViewPosition": "LL", "PatientOrientation": None},
              "c": {"ViewPosition": None, "PatientOrientation": None}, "d": {"ViewPosition": "RAO"}}  # fmt: skip
    for name, tags in stated.items():
        write(
            tmp_path / name, PIXELS, SOPInstanceUID=f"2.25.{ord(name)}", PatientID="Doe", StudyDate="20240101", **tags
        )
    write(tmp_path / "e", PIXELS, Modality="RF")
    films = find_dicom(below(tmp_path)).films
    assert [(film.file.name, film.view) for film in films] == [
        ("a", View.PA), ("b", View.LATERAL), ("c", None), ("d", None)
    ]  # fmt: skip
    assert {film.date for film in films} == {date(2024, 1, 1)}
    assert "Doe" not in repr(films)


def test_days_that_are_none(tmp_path):
    for number, day in enumerate(("", "Xanthippe", "20241399")):
        write(tmp_path / f"{number}", PIXELS, StudyDate=day)
    assert [film.date for film in find_dicom(below(tmp_path)).films] == [None] * 3


def test_ct_images_without_a_series_are_counted_by_folder(tmp_path):
    write_series(tmp_path / "a", even_positions(3), change=of("Doe", SeriesInstanceUID=""))
    found = find_dicom(below(tmp_path))
    assert not found.series
    assert found.without_series == {tmp_path / "a": 3}
