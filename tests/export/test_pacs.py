"""Studies of a real archive: films in and a synthetic CT out by DICOMweb, each once, whole, or with its sentence."""

import http.server
import logging
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

import export.__main__
from conventions import InputError
from drr import Acquisition, VolumeGrid
from export import DicomWeb, Pacs, PacsError, StudyState, predict_in_pacs, predict_study, write_dicom_series
from networks import build_network, describe_model, make_record, write_record
from tests.film_phantom import films as phantom_films
from tests.orthanc import PASSWORD, USER, Orthanc, free_port
from tests.readers.radiographs.film_files import DX, IDENTIFYING, dataset, stored, thorax

dicomweb_client = pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed")

ROOT = Path(__file__).resolve().parents[2]
CR = "1.2.840.10008.5.1.4.1.1.1"
STUDY = IDENTIFYING["StudyInstanceUID"]
PA, LATERAL, OTHER = "2.25.1001", "2.25.1002", "2.25.1003"
SHAPE = (6, 7, 8)
RECORD = {"network": {"name": "raylift"}, "sha256": "0f" * 32}
ACCOUNT = {"X2CT_DICOMWEB_USER": USER, "X2CT_DICOMWEB_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    orthanc = Orthanc(tmp_path_factory.mktemp("orthanc"))
    orthanc.start()
    yield orthanc
    orthanc.stop()


@pytest.fixture
def orthanc(running, monkeypatch):
    """The archive without images, and its credentials in the environment."""
    if running.process is None:
        running.start()
    running.empty()
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(name, value)
    return running


def film(view, pixels=None, **tags):
    kind = "pa" if view == "PA" else "lateral"
    uid = PA if view == "PA" else LATERAL
    pixels = stored(thorax((120, 100), kind) if pixels is None else pixels)
    letters = ["L", "F"] if view == "PA" else ["P", "F"]
    said = {"SOPInstanceUID": uid, "ViewPosition": view, "PatientOrientation": letters}
    made = dataset(pixels, **{**IDENTIFYING, **said, **tags})
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def pair(**tags):
    return [film("PA", **tags), film("LL", **tags)]


def client(orthanc):
    made = dicomweb_client.DICOMwebClient(orthanc.url, orthanc.session)
    made.set_http_retry_params(retry=False)
    return made


def push(orthanc, *films):
    client(orthanc).store_instances(films)


def pacs(orthanc, waits_s=(0.05, 0.05)):
    return Pacs(DicomWeb(orthanc.url, 10, waits_s))


def fetched(orthanc):
    """Return the HU of the one synthetic series, (slices, rows, columns) from the feet to the head, and its images."""
    [series] = {image["MainDicomTags"]["SeriesInstanceUID"] for image in series_of(orthanc)}
    images = client(orthanc).retrieve_series(STUDY, series)
    images.sort(key=lambda image: image.ImagePositionPatient[2])
    return np.stack([image.pixel_array.astype(int) - 1024 for image in images]), images


def series_of(orthanc):
    return orthanc.ask("POST", "/tools/find", json={"Level": "Series", "Query": {"Modality": "CT"}, "Expand": True})


def volume_hu(seed=0):
    """(X, Y, Z) HU."""
    return np.random.default_rng(seed).integers(-1024, 1500, SHAPE)


class Predictor:
    """A stand-in for the network alone: its CT is random, its series is written as every other."""

    def __init__(self, during=lambda: None, seed=0):
        self.during, self.seed, self.calls = during, seed, 0

    def __call__(self, films, folder):
        self.calls += 1
        self.films = [file.read_bytes() for file in films]
        self.during()
        return write_dicom_series(folder, volume_hu(self.seed), np.diag([3.0, 4, 5, 1]), RECORD, films)


def run(orthanc, predict, **options):
    return predict_in_pacs(pacs(orthanc), predict, RECORD["sha256"], **options)


@pytest.mark.parametrize("kind", [("CR", CR), ("DX", DX)], ids=["CR", "DX"])
@pytest.mark.parametrize("several", [False, True], ids=["one series", "two series"])
def test_the_ct_comes_back_by_dicomweb(orthanc, kind, several):
    tags = {"Modality": kind[0], "SOPClassUID": kind[1]}
    lateral = {"SeriesInstanceUID": "2.25.77"} if several else {}
    push(orthanc, film("PA", **tags), film("LL", **tags, **lateral))
    predict = Predictor()
    assert run(orthanc, predict).states == {STUDY: StudyState.DONE}
    hu, images = fetched(orthanc)
    np.testing.assert_array_equal(hu, volume_hu()[::-1, ::-1].transpose(2, 1, 0))  # RAS to LPS
    assert {image.PatientID for image in images} == {IDENTIFYING["PatientID"]}
    assert {item.ReferencedSOPInstanceUID for item in images[0].SourceImageSequence} == {PA, LATERAL}
    views = [pydicom.dcmread(pydicom.filebase.DicomBytesIO(data)).ViewPosition for data in predict.films]
    assert views == ["PA", "LL"]


def test_a_second_run_stores_nothing(orthanc):
    push(orthanc, *pair())
    predict = Predictor()
    run(orthanc, predict)
    before = {image["ID"] for image in orthanc.images()}
    changes = orthanc.ask("GET", "/changes?last")["Last"]
    assert run(orthanc, predict).states == {STUDY: StudyState.HELD}
    assert predict.calls == 1
    assert {image["ID"] for image in orthanc.images()} == before
    assert len(before) == 2 + SHAPE[2]
    assert orthanc.ask("GET", "/changes?last")["Last"] == changes


def test_another_model_gives_another_series(orthanc):
    push(orthanc, *pair())
    run(orthanc, Predictor())
    assert predict_in_pacs(pacs(orthanc), Predictor(seed=1), "1e" * 32).states == {STUDY: StudyState.DONE}
    assert len(series_of(orthanc)) == 2


def test_studies_without_both_views_are_passed_over(orthanc):
    push(orthanc, film("PA"))
    push(orthanc, film("LLO", StudyInstanceUID="2.25.5", SOPInstanceUID="2.25.6", SeriesInstanceUID="2.25.7"))
    outcome = run(orthanc, Predictor())
    assert outcome.states == {STUDY: StudyState.NO_PAIR, "2.25.5": StudyState.NO_PAIR}
    assert not outcome.failed


def test_the_search_can_be_narrowed(orthanc):
    push(orthanc, *pair())
    later = {"StudyInstanceUID": "2.25.5", "StudyDate": "20260102", "PatientID": "MRN-2"}
    push(orthanc, *(film(view, SOPInstanceUID=f"2.25.6{i}", SeriesInstanceUID="2.25.7", **later)
                    for i, view in enumerate(("PA", "LL"))))  # fmt: skip
    found = pacs(orthanc)
    assert set(found.studies()) == {STUDY, "2.25.5"}
    assert found.studies(since=date(2026, 1, 2)) == ["2.25.5"]
    assert found.studies(since=date(2026, 1, 3)) == []
    assert found.studies(STUDY) == [STUDY]
    with pytest.raises(InputError, match=r"holds no study 2\.25\.99"):
        run(orthanc, Predictor(), study="2.25.99")


def test_one_film_for_processing_and_for_presentation_is_one(orthanc):
    raw = film("PA", SOPInstanceUID=OTHER, PresentationIntentType="FOR PROCESSING")
    push(orthanc, *pair(), raw)
    predict = Predictor()
    assert run(orthanc, predict).states == {STUDY: StudyState.DONE}
    assert pydicom.dcmread(pydicom.filebase.DicomBytesIO(predict.films[0])).SOPInstanceUID == PA


def test_two_films_of_a_view_are_refused(orthanc):
    push(orthanc, *pair(), film("PA", SOPInstanceUID=OTHER))
    outcome = run(orthanc, Predictor())
    assert "holds 3 films of both views" in outcome.failed[STUDY]
    assert not orthanc.images("CT")


@pytest.mark.parametrize("change", ["added", "removed", "study removed"])
def test_a_study_that_changes_underneath_gets_nothing(orthanc, change):
    push(orthanc, *pair())
    changes = {
        "added": lambda: push(orthanc, film("PA", SOPInstanceUID=OTHER)),
        "removed": lambda: orthanc.delete_image(LATERAL),
        "study removed": orthanc.empty,
    }
    outcome = run(orthanc, Predictor(changes[change]))
    assert "films changed while its CT was predicted, so nothing was stored" in outcome.failed[STUDY]
    assert not orthanc.images("CT")


def test_a_film_that_is_gone_before_it_is_fetched_is_named_so(orthanc, monkeypatch):
    push(orthanc, *pair())
    found = pacs(orthanc)
    [lost] = [one for one in found.films(STUDY) if one.uid == PA]
    orthanc.delete_image(PA)
    with pytest.raises(InputError, match="the study is still there"):
        found.retrieve(STUDY, lost, Path("never"))


def test_a_part_of_a_series_is_completed(orthanc, tmp_path):
    push(orthanc, *pair())
    run(orthanc, Predictor())
    hu, images = fetched(orthanc)
    for image in images[2:5]:
        orthanc.delete_image(image.SOPInstanceUID)
    assert run(orthanc, Predictor()).states == {STUDY: StudyState.DONE}
    np.testing.assert_array_equal(fetched(orthanc)[0], hu)


def test_what_the_archive_did_not_take_is_named_and_sent_by_the_next_run(orthanc):
    push(orthanc, *pair())
    orthanc.full.touch()
    try:
        outcome = run(orthanc, Predictor())
    finally:
        orthanc.full.unlink()
    assert f"took 5 of {SHAPE[2]} slices" in outcome.failed[STUDY]
    assert len(orthanc.images("CT")) == 5
    assert run(orthanc, Predictor()).states == {STUDY: StudyState.DONE}
    np.testing.assert_array_equal(fetched(orthanc)[0], volume_hu()[::-1, ::-1].transpose(2, 1, 0))


def test_a_part_that_another_computer_stored_is_not_doubled(orthanc):
    push(orthanc, *pair())
    run(orthanc, Predictor(seed=1))
    orthanc.delete_image(fetched(orthanc)[1][0].SOPInstanceUID)
    outcome = run(orthanc, Predictor())
    assert "holds a part of a synthetic CT" in outcome.failed[STUDY]
    assert len(orthanc.images("CT")) == SHAPE[2] - 1


def test_what_another_process_stored_meanwhile_is_not_doubled(orthanc):
    push(orthanc, *pair())
    assert run(orthanc, Predictor(lambda: run(orthanc, Predictor(seed=1)))).states == {STUDY: StudyState.HELD}
    assert len(series_of(orthanc)) == 1


def test_one_study_that_fails_does_not_end_the_others(orthanc, caplog):
    push(orthanc, *pair())
    second = {"StudyInstanceUID": "2.25.5", "SeriesInstanceUID": "2.25.7"}
    push(orthanc, film("PA", SOPInstanceUID="2.25.61", **second), film("LL", SOPInstanceUID="2.25.62", **second))
    predict = Predictor()

    def broken(films, folder):
        if predict.calls:
            raise InputError(f"{films[0]}: is blank")
        predict(films, folder)

    with caplog.at_level(logging.DEBUG):
        outcome = run(orthanc, broken)
    assert sorted(outcome.states.values(), key=str) == [StudyState.DONE]
    assert list(outcome.failed.values()) == ["pa.dcm: is blank"]
    told = [record.getMessage() for record in caplog.records if record.name.startswith(("x2ct", "dicomweb"))]
    assert len(told) == 4  # begun and ended, twice
    assert not any(secret in caplog.text for secret in (PASSWORD, "Quetzal", IDENTIFYING["PatientID"]))


def test_wrong_credentials_are_one_sentence(orthanc, monkeypatch):
    monkeypatch.setenv("X2CT_DICOMWEB_PASSWORD", "not-the-one")
    with pytest.raises(PacsError, match=r"refuses these credentials \(HTTP 401\)") as caught:
        run(orthanc, Predictor())
    assert "not-the-one" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_credentials_come_from_netrc_too(orthanc, monkeypatch, tmp_path):
    for name in ACCOUNT:
        monkeypatch.delenv(name)
    plain = PASSWORD.encode().decode("latin1")  # requests sends this file's text in Latin-1
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {plain}\n", encoding="utf-8")
    (tmp_path / "netrc").chmod(0o600)
    with pytest.raises(PacsError, match="refuses these credentials"):
        pacs(orthanc).studies()
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert pacs(orthanc).studies() == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"X2CT_DICOMWEB_USER": "me"}, "belong together"), ({"X2CT_DICOMWEB_TOKEN": "a\nb"}, "cannot be sent")],
)
def test_credentials_that_cannot_be_are_refused(monkeypatch, settings, sentence):
    for name in ACCOUNT:
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=sentence) as caught:
        DicomWeb("http://127.0.0.1:1/dicom-web")
    assert "a\nb" not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8042", "ftp://host/x", "http://[", "http://host:port/x", "http:///x"])
def test_addresses_that_cannot_be_are_refused(url):
    with pytest.raises(InputError, match="is no address of a DICOMweb service"):
        DicomWeb(url)


@pytest.mark.parametrize("url", ["http://me:Sesam@host/dicom-web", "http://host/dicom-web?token=Sesam"])
def test_credentials_in_the_address_are_refused_and_not_repeated(url):
    with pytest.raises(InputError, match="holds more than a path") as caught:
        DicomWeb(url)
    assert "Sesam" not in str(caught.value)


def test_options_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="time-out is a number of seconds above 0"):
        DicomWeb("http://127.0.0.1:1/dicom-web", timeout_s=0)
    for since in ("2026-13-01", "yesterday", "9" * 20):
        with pytest.raises(InputError, match="--since is a date such as 2026-11-30, or a number of days"):
            export.__main__.dicomweb("http://127.0.0.1:1/dicom-web", since=since)


def test_a_wrong_root_is_named_so(orthanc):
    orthanc_root = Pacs(DicomWeb(f"{orthanc.root}/nothing", 10, ()))
    with pytest.raises(InputError, match=r"answers HTTP 404; check that it is the root of a DICOMweb service"):
        orthanc_root.studies()


def test_a_dead_archive_is_tried_again_and_then_one_sentence(monkeypatch):
    url = f"http://127.0.0.1:{free_port()}/dicom-web"
    begun = time.monotonic()
    with pytest.raises(PacsError, match="cannot be reached"):
        Pacs(DicomWeb(url, 5, (0.2, 0.2))).studies()
    assert time.monotonic() - begun >= 0.4


@pytest.mark.slow
def test_an_archive_that_is_stopped_between_ends_the_run(orthanc):
    push(orthanc, *pair())
    with pytest.raises(PacsError, match="cannot be reached"):
        run(orthanc, Predictor(orthanc.stop))
    orthanc.start()
    assert not orthanc.images("CT")
    assert len(orthanc.images()) == 2


def test_what_another_program_asks_for_stays_below_the_root(orthanc):
    push(orthanc, *pair())
    service = DicomWeb(orthanc.url, 10, ())
    status, media_type, body = service.fetch("studies", f"StudyInstanceUID={STUDY}", "application/dicom+json")
    assert (status, media_type) == (200, "application/dicom+json")
    assert STUDY.encode() in body
    assert service.fetch("studies/2.25.99/series/1/instances/1", accept="*/*")[0] == 404
    for path in ("../instances", "studies/../../instances", "..", "studies/..\\..\\x", "a?b", "a#b", "./studies"):
        with pytest.raises(InputError, match=r"is no address below the root"):
            service.fetch(path)
    with pytest.raises(PacsError, match="cannot be reached"):
        DicomWeb(f"http://127.0.0.1:{free_port()}/dicom-web", 5, ()).fetch("studies")


class Answers(http.server.BaseHTTPRequestHandler):
    """A service that gives the same answers in turn, after a silence."""

    statuses: list = []
    body = b""
    silence_s = 0.0
    seen: list = []

    def do_GET(self):
        self.seen.append(self.headers.get("Authorization"))
        time.sleep(self.silence_s)
        self.send_response(self.statuses[min(len(self.seen), len(self.statuses)) - 1])
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        """Write nothing."""


@pytest.fixture
def service():
    """Start a service that answers so, and return its address."""
    servers = []

    def start(*statuses, body=b"", silence_s=0.0):
        entries = {"statuses": statuses, "body": body, "silence_s": silence_s, "seen": []}
        handler = type("Handler", (Answers,), entries)
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/dicom-web", handler

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_overloaded_archive_is_asked_again(service, monkeypatch):
    monkeypatch.setenv("X2CT_DICOMWEB_TOKEN", "abc.def")
    url, asked = service(503, 429, 204)
    assert Pacs(DicomWeb(url, 5, (0.01, 0.01))).studies("2.25.1") == []
    assert asked.seen == ["Bearer abc.def"] * 3
    url, asked = service(503)
    with pytest.raises(InputError, match="answers HTTP 503"):
        Pacs(DicomWeb(url, 5, (0.01,))).studies("2.25.1")
    assert len(asked.seen) == 2


def test_a_silent_archive_is_given_up(service):
    url, _ = service(204, silence_s=0.6)
    with pytest.raises(PacsError, match=r"does not answer within 0\.1 s"):
        Pacs(DicomWeb(url, 0.1, ())).studies("2.25.1")


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b'{"error": "Quetzal"}', b"[1]", b"[{}]", b'[{"0020000D": 3}]']
)
def test_an_answer_that_is_no_dicom_is_named_so(service, body):
    url, asked = service(200, body=body)
    with pytest.raises(InputError, match="answers what is no DICOM"):
        Pacs(DicomWeb(url, 5, (0.01,))).studies("2.25.1")
    assert len(asked.seen) == 1


def tiny_model(folder):
    """Save the smallest RayLift, with random weights, and return its file."""
    torch.manual_seed(0)
    size = 32
    options = {"encoder_channels": [4] * 3, "unet_channels": [4] * 2, "head_channels": [4, 4], "lift_channels": [4] * 3}
    views = ["pa", "lateral"]
    network = build_network("raylift", image_size=size, views=views, geometry="chest", voxel_mm=10.0, **options)
    acquisition = Acquisition(
        geometry="chest", view_names=views, curve="water", film_style="linear", anchor="lungs",
        grid=VolumeGrid(size, 10.0), detector_shape=size,
    )  # fmt: skip
    torch.save(network.state_dict(), folder / "model.pt")
    write_record(folder / "model.pt", make_record(network, acquisition, (-1024, 1476)))
    return folder / "model.pt"


@pytest.mark.slow
def test_the_command_stores_what_predict_study_predicts(orthanc, tmp_path):
    model = tiny_model(tmp_path)
    spacing = [430 / 400, 430 / 400]
    real = [film(view, pixels, ImagerPixelSpacing=spacing)
            for view, pixels in zip(("PA", "LL"), phantom_films(0), strict=True)]  # fmt: skip
    push(orthanc, *real)
    files = [tmp_path / "pa.dcm", tmp_path / "lateral.dcm"]
    for one, file in zip(real, files, strict=True):
        one.save_as(file)
    predict_study(files, tmp_path / "expected", model, device="cpu")
    expected = np.stack([pydicom.dcmread(file).pixel_array for file in sorted((tmp_path / "expected").iterdir())])
    words = [sys.executable, "-m", "export", "dicomweb", orthanc.url, "--since", "2019-08-17"]
    words = [str(word) for word in [*words, "--checkpoint", model, "--device", "cpu"]]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 studies done, 0 held their CT already, 0 lack a view, 0 failed" in done.stdout
    later = [word.replace("2019-08-17", "2999-01-01") for word in words]
    nothing = subprocess.run(later, cwd=ROOT, capture_output=True, text=True)
    assert "no study with films was found: those are searched whose modality is CR, D" in nothing.stdout
    assert nothing.returncode == 0
    secrets = [value for key, value in IDENTIFYING.items() if key != "StudyInstanceUID"]
    assert not any(value in done.stdout + done.stderr for value in [*secrets, PASSWORD])
    hu, images = fetched(orthanc)
    assert np.ptp(hu) > 50
    np.testing.assert_array_equal(hu, expected.astype(int) - 1024)
    sha256 = describe_model(model)["sha256"]
    assert sha256 in images[0].SoftwareVersions
    predict = Predictor()
    assert predict_in_pacs(pacs(orthanc), predict, sha256).states == {STUDY: StudyState.HELD}
    assert predict.calls == 0
    assert len(orthanc.images()) == 2 + 32
