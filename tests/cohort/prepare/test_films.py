"""Films of patients with a CT: found, checked, copied without a name, listed with their days, made once."""

import hashlib
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import cohort
from cohort import PrepareOptions, load_datalist, prepare_cohort, split_cohort, validate_cohort
from cohort.prepare.film import FilmSource, prepare_film
from conventions import MARK_KEY, MARK_TAGS, MarkKind, View, mark
from readers import ReadOptions, check_content, read_films
from reports import write_cohort_page
from storage import key_of
from tests.film_phantom import films as phantom_films
from tests.readers.ct.ct_files import even_positions, write_series
from tests.readers.radiographs.film_files import IDENTIFYING, dataset, stored, write
from transforms import ReadRadiographd

SCHEMA = json.loads((Path(cohort.__file__).parent / "prepare" / "schema.json").read_text())
OPTIONS = PrepareOptions(spacing=5.0, keep_table=True)
DOE = {**IDENTIFYING, "PatientID": "Doe-1"}
LATERAL = {"ViewPosition": "LL", "PatientOrientation": ["P", "F"]}
UNSTATED = {"ViewPosition": None, "PatientOrientation": None}


def ct_of(patient, day):
    def change(made, _):
        made.PatientID, made.StudyDate, made.PatientName = patient, day, IDENTIFYING["PatientName"]

    return change


def film(path, number, view=0, **tags):
    """A film of a phantom; views 0 and 1 are PA and lateral."""
    return write(path, stored(phantom_films(0)[view]), SOPInstanceUID=f"1.2.3.777.{number}", **{**DOE, **tags})


def archive(folder):
    """Two CTs of one patient, films of that patient, of another and of nobody, and a broken one."""
    write_series(folder / "ct", uid="2.25.51", change=ct_of("Doe-1", "20190801"))
    moved = even_positions() + np.array([0, 0, 7.5])
    write_series(folder / "later", stated=moved, uid="2.25.52", change=ct_of("Doe-1", ""))
    film(folder / "1.dcm", 1)
    film(folder / "2.dcm", 2, 1, StudyDate="20190729", AcquisitionDate="20190801", **LATERAL)
    film(folder / "deeper.ima", 3, 1, **UNSTATED)
    bare = film(folder / "bare", 4, StudyDate="20200801")
    bare.write_bytes(bare.read_bytes()[132:])
    film(folder / "oblique.dcm", 5, ViewPosition="RAO")
    film(folder / "copy.dcm", 1)
    film(folder / "roe.dcm", 6, PatientID="Roe")
    film(folder / "nobody.dcm", 7, PatientID="")
    whole = film(folder / "cut.dcm", 8)
    whole.write_bytes(whole.read_bytes()[:-2000])
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def made(source, tmp_path_factory):
    return prepare_cohort(source, tmp_path_factory.mktemp("made"), OPTIONS)


def content(folder):
    files = [file for file in Path(folder).rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def name_of(number):
    return f"films/film_{key_of(f'1.2.3.777.{number}')}.dcm"


def test_films_stand_with_each_ct_of_their_patient(made):
    manifest = json.loads(made.manifest.read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(manifest)
    first, later = f"ct_{key_of('2.25.51')}", f"ct_{key_of('2.25.52')}"
    listed = {case["case"]: {film["film"]: film for film in case["films"]} for case in manifest["cases"]}
    assert set(listed) == {first, later}
    assert set(listed[first]) == set(listed[later]) == {name_of(number) for number in (1, 2, 3, 4)}
    days = {name: film["days"] for name, film in listed[first].items()}
    # IDENTIFYING says 17 August 2019 for the study; the CT is of the first of August.
    assert days == {name_of(1): 16, name_of(2): -3, name_of(3): 16, name_of(4): 366}
    assert {film["days"] for film in listed[later].values()} == {None}
    views = {name: film["view"] for name, film in listed[first].items()}
    assert views == {name_of(1): "pa", name_of(2): "lateral", name_of(3): "lateral", name_of(4): "pa"}
    assert {film["spacing"] for film in listed[first].values()} == {0.35}


def test_decisions_are_those_of_the_readers(made, source):
    listed = {film["film"]: film for film in made.cases[0]["films"]}
    (film,) = read_films(source / "2.dcm", [View.LATERAL], ReadOptions())
    check_content(film.pixels, film.view, film.record)
    assert listed[name_of(2)]["decisions"] == film.record.to_list()
    said = [one["text"] for one in listed[name_of(3)]["decisions"] if one["subject"] == "view"]
    assert said == ["not stated; taken for lateral as asked", "it looks like a lateral"]


def test_a_film_is_read_from_the_cohort_as_from_its_source(made, source):
    for number, file, view in ((1, "1.dcm", View.PA), (2, "2.dcm", View.LATERAL)):
        films = [
            read_films(path, [view], ReadOptions())[0]
            for path in (source / file, made.manifest.parent / name_of(number))
        ]
        np.testing.assert_array_equal(films[0].pixels, films[1].pixels)
        assert films[0].record.to_list() == films[1].record.to_list()
    pair = ReadRadiographd("image")({"image": [made.manifest.parent / name_of(number) for number in (1, 2)]})["image"]
    assert [image.meta["view"] for image in pair] == list(View)


def test_what_is_refused_is_named_and_what_is_left_out_is_counted(made, source):
    reasons = {Path(path).name: reason for path, reason in made.refused}
    assert set(reasons) == {"copy.dcm", "oblique.dcm", "cut.dcm"}
    assert reasons["copy.dcm"] == "is the same film as 1.dcm, and is left out"
    assert "is neither a PA nor a lateral film by its tags" in reasons["oblique.dcm"]
    assert "is cut off (truncated)" in reasons["cut.dcm"]
    assert made.films_left_out == 2


def test_what_is_no_film_of_a_chest_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 4096, (300, 280)).astype(np.uint16)
    computed = dataset(stored(phantom_films(0)[0]))
    computed.add_new(MARK_TAGS[0], "LO", MARK_KEY)
    computed.add_new(MARK_TAGS[1], "UT", mark(MarkKind.COMPUTED_RADIOGRAPH, {"view": "pa"}))
    computed.save_as(tmp_path / "drr.dcm")
    expected = {"noise.dcm": "no chest can be recognised in it", "drr.dcm": "is a DRR, computed from a CT, and no film"}
    write(tmp_path / "noise.dcm", noise)
    for name, words in expected.items():
        outcome = prepare_film(FilmSource("film_1", tmp_path / name, View.PA, {"ct_1": 0}), tmp_path / "out")
        assert outcome["refused"].startswith(f"{tmp_path / name}: {words}")
    assert not (tmp_path / "out").exists()


def test_nobody_is_named(made):
    words = set(IDENTIFYING.values()) | {"Doe-1", "Roe", "Xanthippe", "1.2.3.777", "20190801"}
    for file in made.manifest.parent.rglob("*"):
        if file.is_file() and file.suffix != ".gz":
            text = file.read_bytes()
            assert not [word for word in words if word.encode() in text], file


def test_a_second_run_makes_no_film_again_and_a_damaged_one_is(made, source):
    folder = made.manifest.parent
    stamps = {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}
    prepare_cohort(source, folder, OPTIONS)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()} == stamps
    before = content(folder)
    (folder / name_of(1)).write_bytes(b"half")
    (folder / "films" / f".77-{Path(name_of(2)).name}").write_bytes(b"half")
    prepare_cohort(source, folder, OPTIONS)
    assert content(folder) == before


def test_parts_give_the_same(made, source, tmp_path):
    for part in ("1/2", "0/2"):
        prepare_cohort(source, tmp_path, OPTIONS, part=part)
    after = {name: digest for name, digest in content(tmp_path).items() if not name.startswith("manifest_")}
    assert after == content(made.manifest.parent)


def test_folds_training_and_checks_follow(made, tmp_path):
    elsewhere = split_cohort(made.manifest.parent, tmp_path / "folds.json", test=0, validation=0)
    assert validate_cohort(elsewhere) == []
    assert all(set(item) == {"label", "case", "patient"} for item in load_datalist(elsewhere, "train"))
    manifest = json.loads(elsewhere.read_text())
    film = manifest["cases"][0]["films"][0]
    assert (tmp_path / film["film"]).is_file()
    film["sha256"] = "0" * 64
    manifest["cases"][0]["films"][1]["film"] = "gone.dcm"
    elsewhere.write_text(json.dumps(manifest))
    wrong = validate_cohort(elsewhere)
    assert len(wrong) == 2
    assert "is not the film that was prepared (SHA-256)" in wrong[0]
    assert "gone.dcm does not exist" in wrong[1]


def test_the_page_shows_them_once_drawn(made, tmp_path):
    page = write_cohort_page(made.manifest, name="page.html").read_text()
    assert page.count("films of the same patient") == 2
    pictures = sorted((made.manifest.parent / "thumbnails").glob("*_films_*.png"))
    assert len(pictures) == 2
    stamps = [file.stat().st_mtime_ns for file in pictures]
    write_cohort_page(made.manifest, name="page.html")
    assert [file.stat().st_mtime_ns for file in pictures] == stamps


@pytest.mark.slow
def test_processes_and_a_cluster_give_the_same(made, source, tmp_path):
    prepare_cohort(source, tmp_path / "jobs", OPTIONS, jobs=2)
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        prepare_cohort(source, tmp_path / "cluster", OPTIONS, scheduler=cluster.scheduler_address)
    files = content(tmp_path / "jobs")
    assert files == content(tmp_path / "cluster")
    whole = content(made.manifest.parent)
    assert files == {name: whole[name] for name in files}
    assert len([name for name in files if name.startswith("films/")]) == 4
