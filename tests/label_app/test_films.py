"""Which studies a folder holds, and which films belong together."""

import pytest

from conventions import View
from label_app import RequestError, films_of, find_studies
from label_app.films import upload_name

BOTH, ONE = (View.PA, View.LATERAL), (View.PA,)


@pytest.fixture
def folder(tmp_path):
    """Two studies by their names, two in folders, a pair in one NIfTI file, and what is no study."""
    names = ["smith_pa.png", "smith_lateral.dcm", "Jones-AP.tif", "jones_lat.png", "both.nii.gz", "readme.txt",
             "IM0001", "labels/final/smith.nii.gz", ".hidden_pa.png", "visit 1/IM1", "visit 1/b/IM2",
             "datastore_v2.json", "alone.png", "lone_lateral.png"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_study_is_a_folder_or_a_film_with_its_view_in_its_name(folder):
    found = {"smith": "smith_pa.png", "Jones": "Jones-AP.tif", "both": "both.nii.gz", "visit 1": "visit 1"}
    assert find_studies(folder, BOTH) == found


def test_films_of_a_model_of_one_view_are_studies_whatever_their_names(folder):
    assert find_studies(folder, ONE).keys() == {"smith", "Jones", "both", "visit 1", "alone", "IM0001"}


def test_two_studies_of_one_name_are_not_mixed(tmp_path, caplog):
    (tmp_path / "smith").mkdir()
    (tmp_path / "smith" / "IM1").touch()
    (tmp_path / "smith_pa.png").touch()
    assert find_studies(tmp_path, BOTH) == {"smith": "smith"}
    assert "smith_pa.png: is left out, since smith has its name already" in caplog.text


def test_films_belong_together_by_the_beginning_of_their_names(folder):
    assert [file.name for file in films_of(folder / "smith_pa.png", BOTH)] == ["smith_pa.png", "smith_lateral.dcm"]
    assert films_of(folder / "smith_pa.png", ONE) == [folder / "smith_pa.png"]
    assert films_of(folder / "visit 1", BOTH) == [folder / "visit 1"]
    assert films_of(folder / "both.nii.gz", BOTH) == [folder / "both.nii.gz"]


def test_a_missing_film_and_two_of_a_view_are_refused(folder):
    with pytest.raises(RequestError, match=r"Jones: its lateral film is missing; add it as Jones_lateral\.tif"):
        films_of(folder / "Jones-AP.tif", BOTH)
    (folder / "smith-lat.png").touch()
    with pytest.raises(RequestError, match=r"smith: has 2 lateral films, such as smith_lateral\.dcm; leave one"):
        films_of(folder / "smith_pa.png", BOTH)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a.png", "a.png"), ("../../etc/passwd", "passwd"), ("C:\\films\\pa.DCM", "pa.DCM"), ("IM0001", "IM0001")],
)
def test_of_the_name_of_an_upload_the_last_part_counts(given, kept):
    assert upload_name(given) == kept


@pytest.mark.parametrize("given", [None, "", "..", ".bashrc", "a b.png", "a\0.png", "-rf", "ä.png", "x" * 200, "a/"])
def test_names_that_mean_more_than_a_file_are_refused(given):
    with pytest.raises(RequestError, match="holds letters, digits"):
        upload_name(given)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("x/../y.NII.GZ", "pa.nii.gz"), ("ct.mha", "pa.mha"), (None, "pa"), ("a.png/..", "pa"), ("evil.sh", "pa")],
)
def test_an_upload_of_a_known_view_is_named_after_it(given, kept):
    assert upload_name(given, View.PA) == kept
