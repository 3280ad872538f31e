"""The app as a real server: what it predicts, what it refuses, and what it survives."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel
import numpy as np
import psutil
import pytest
import requests

from tests.film_phantom import phantom
from tests.label_app.conftest import assert_same, infer_by_command, write_studies
from tests.readers.radiographs.film_files import IDENTIFYING

pytest.importorskip("monailabel", reason="MONAI Label is not installed; make test-label has an environment with it")

from monailabel.client import MONAILabelClient

from tests.label_app.label_server import LabelServer, score_studies

pytestmark = pytest.mark.slow

SECRET = "Xanthippe's own secret"
LIMIT_MB = 4


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Studies, and next to their folder a file that nobody may read."""
    above = tmp_path_factory.mktemp("above")
    (above / "secret.png").write_text(SECRET)
    return write_studies(above / "studies")


@pytest.fixture(scope="module")
def server(archive, studies, tmp_path_factory):
    made = LabelServer(archive, tmp_path_factory.mktemp("server"), studies, "--max_upload_mb", str(LIMIT_MB)).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def expected(archive, studies, tmp_path_factory):
    """What `inferring` writes of each study."""
    pairs = {
        "smith": {"pa": studies / "smith_pa.png", "lateral": studies / "smith_lateral.png"},
        "one_series": {"pa": studies / "one_series"},
        "two_series": {"pa": studies / "two_series"},
    }
    return {name: infer_by_command(archive, tmp_path_factory.mktemp(name), **films) for name, films in pairs.items()}


def detail(answer, status):
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    sentence = answer.json()["detail"]
    assert "\n" not in sentence
    assert "/tmp" not in sentence
    return sentence


def pair(studies, name="smith"):
    return {"file": (studies / f"{name}_pa.png").open("rb"), "lateral": (studies / f"{name}_lateral.png").open("rb")}


def put(server, address, image, tag="final", **files):
    return requests.put(f"{server.url}/{address}", params={"image": image, "tag": tag}, files=files)


def begun_predicting(server):
    for _ in range(6000):
        if list(server.temporary.glob("x2ct-label-*/request-*/results")):
            return
        time.sleep(0.02)
    raise AssertionError("no prediction began")


def nothing_is_left(server):
    """Films and results are removed after the answer is sent, so a moment later at most."""
    for _ in range(500):
        if not list(server.temporary.glob("x2ct-label-*/request-*")):
            return
        time.sleep(0.02)
    raise AssertionError("uploads or results are left")


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_info(server, studies):
    found = requests.get(f"{server.url}/info/").json()
    assert found["models"]["x2ct"]["type"] == "others"  # so that no viewer takes the CT for a label map
    assert found["models"]["x2ct"]["labels"] == {}
    assert found["datastore"] == {"total": 3, "completed": 0, "label_tags": {}}
    assert str(studies) not in json.dumps(found)
    listed = requests.get(f"{server.url}/datastore/", params={"output": "all"}).json()
    assert listed["objects"].keys() == {"smith", "one_series", "two_series"}
    assert str(studies) not in json.dumps(listed)


@pytest.mark.parametrize("name", ["smith", "one_series", "two_series"])
def test_a_study_by_its_id_is_what_inferring_writes(server, expected, name):
    answer = server.infer(image=name)
    assert answer.status_code == 200, answer.text
    assert_same(answer.content, expected[name])


def test_two_uploads_are_what_inferring_writes(server, expected, studies):
    assert_same(server.infer(files=pair(studies)).content, expected["smith"])


def test_the_client_of_monai_label(server, expected, studies, tmp_path):
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    file, said = client.infer("x2ct", "one_series", {})
    assert_same(Path(file).read_bytes(), expected["one_series"])
    assert said["synthetic"] is True
    assert "not for diagnosis" in said["statement"]
    assert said["model"]["network"]["name"] == "raylift"
    assert [film["view"] for film in said["radiographs"]] == ["pa", "lateral"]
    assert isinstance(said["doubts"], list)
    text = json.dumps(said)
    assert not any(value in text for key, value in IDENTIFYING.items() if isinstance(value, str))
    assert str(studies) not in text
    assert str(server.temporary) not in text
    pa, lateral = (str(studies / f"smith_{view}.png") for view in ("pa", "lateral"))
    file, _ = client.infer("x2ct", "", {}, label_in=lateral, file=pa)
    assert_same(Path(file).read_bytes(), expected["smith"])


def test_a_session_holds_the_films_of_one_study(server, expected, studies):
    parts = [("files", ("IM1", path.read_bytes())) for path in sorted((studies / "two_series").rglob("IM1"))]
    made = requests.put(f"{server.url}/session/", files=parts).json()
    assert_same(server.infer(session_id=made["session_id"]).content, expected["two_series"])
    assert requests.get(f"{server.url}/session/{made['session_id']}").json()["files"] == 2
    assert requests.delete(f"{server.url}/session/{made['session_id']}").status_code == 200
    assert "there is no session" in detail(server.infer(session_id=made["session_id"]), 404)


def test_a_session_ends_after_an_hour(server, studies):
    parts = [("files", ("IM1", path.read_bytes())) for path in sorted((studies / "two_series").rglob("IM1"))]
    old, new = (requests.put(f"{server.url}/session/", files=parts).json()["session_id"] for _ in range(2))
    [folder] = server.temporary.glob(f"x2ct-label-*/sessions/{old}")
    os.utime(folder, (0, time.time() - 3601))
    requests.put(f"{server.url}/session/", files=parts)
    assert "there is no session" in detail(requests.get(f"{server.url}/session/{old}"), 404)
    assert requests.get(f"{server.url}/session/{new}").json()["files"] == 2


def voxels(answer):
    assert answer.status_code == 200, answer.text
    return np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content)).dataobj).astype(int)


@pytest.mark.parametrize(
    "params", [{"consistency": "auto"}, {"style_transfer": "histogram"}, {"spacing": 0.7}, {"field_of_view": "given"}]
)
def test_parameters_act_as_in_inferring(server, expected, archive, studies, tmp_path, params):
    answer = server.infer(image="one_series", data={"params": json.dumps(params)})
    wanted = infer_by_command(archive, tmp_path, pa=studies / "one_series", **params)
    assert_same(answer.content, wanted)
    assert np.abs(voxels(answer) - np.asarray(expected["one_series"].dataobj)).max() > 0


def test_the_agreement_with_the_films_is_in_the_answer(server):
    said = server.infer("json", image="smith", data={"params": '{"consistency": "auto", "damping": 2.5}'}).json()
    assert said["consistency"]["damping"] == 2.5
    assert len(said["consistency"]["before"]) == 2


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"geometry": "x2ct"}, "was trained with geometry 'chest'"),
        ({"geometry": "$__import__('os').abort()"}, "geometry is one of chest, x2ct"),
        ({"style_transfer": "cyclegan"}, "real_to_drr.pt: there is no model"),
        ({"checkpoint": "/etc/passwd"}, "there is no parameter 'checkpoint'"),
        ({"store": True}, "store needs the id of a study in an archive"),
        ({"consistency": "given", "device": "cuda:9"}, "device 'cuda:9' is not available"),
    ],
)
def test_parameters_that_cannot_be_are_one_sentence(server, params, sentence):
    assert sentence in detail(server.infer(image="smith", data={"params": json.dumps(params)}), 422)


PATHS = ["../secret", "../secret.png", "/etc/passwd", "..", ".", "", "smith/../../secret", "%2e%2e%2fsecret.png",
         "labels", "smith\0", "~", "smith_lateral", "datastore_v2.json", "C:\\secret", "x" * 5000]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_ids_that_are_no_study(server, studies, path):
    before = snapshot(studies)
    absolute = str(studies.parent / "secret.png") if path == ".." else path
    for name in {path, absolute}:
        answers = [
            server.infer(image=name),
            server.infer(session_id=name),
            server.infer(image="smith", data={"params": json.dumps({"image": name})}),
            requests.get(f"{server.url}/datastore/image", params={"image": name}),
            requests.get(f"{server.url}/datastore/image/info", params={"image": name}),
            requests.get(f"{server.url}/datastore/label", params={"label": name, "tag": "final"}),
            requests.get(f"{server.url}/datastore/label", params={"label": "smith", "tag": name}),
            requests.get(f"{server.url}/datastore/", params={"output": name or "no"}),
            put(server, "datastore/label", name, label=b"x"),
            put(server, "datastore/label", "smith", name or "no", label=b"x"),
            put(server, "datastore/", name or "a b", file=("x.png", b"x")),
        ]
        for answer in answers:
            assert 400 <= answer.status_code < 500, (answer.request.url[:200], answer.status_code, answer.text[:200])
            assert answer.json()["detail"]
            assert SECRET not in answer.text
    assert snapshot(studies) == before
    assert {file.name for file in studies.parent.iterdir()} == {"secret.png", "studies"}


@pytest.mark.parametrize(
    "address",
    ["session/..", "session/%2e%2e", "session/..%2f..%2fsecret", "ohif/../../../secret", "ohif/%2e%2e/%2e%2e/main.py",
     "infer/wsi/x2ct", "model/x2ct", "logs/", "datastore/dataset", "batch/infer/x2ct", "proxy/dicom/..%2f..%2f"],
)  # fmt: skip
def test_addresses_that_lead_nowhere(server, address):
    """MONAI Label's own routes that take paths, run long or replace what is there are not served."""
    for method in ("GET", "PUT", "POST", "DELETE"):
        prepared = requests.Request(method, f"{server.url}/x").prepare()
        prepared.url = f"{server.url}/{address}"  # as it is written, which requests would tidy
        answer = requests.Session().send(prepared, timeout=30)
        if "ohif" in address and method == "GET":
            assert "OHIF" in answer.text  # its page, whatever the address
            continue
        assert 400 <= answer.status_code < 500, (method, answer.status_code, answer.text[:200])


def test_images_are_never_removed_by_http(server, studies):
    before = snapshot(studies)
    for address in ("datastore/", "datastore/image", "datastore/label"):
        answer = requests.delete(f"{server.url}/{address}", params={"id": "smith", "tag": "final"})
        assert answer.status_code == 405
    assert snapshot(studies) == before


GARBAGE = {"random": os.urandom(5000), "empty": b"", "text": b"not a film", "cut": b"\x89PNG\r\n\x1a\n" + bytes(40),
           "zip": b"PK\x03\x04" + bytes(200), "dicom": bytes(128) + b"DICM" + os.urandom(400)}  # fmt: skip


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_one_sentence(server, studies, kind):
    before = snapshot(studies)
    parts = {"file": ("a.png", GARBAGE[kind]), "lateral": ("b.dcm", GARBAGE[kind])}
    detail(server.infer(files=parts), 422)
    detail(put(server, "datastore/", "new_pa", file=("a.png", GARBAGE[kind])), 422)
    detail(put(server, "datastore/label", "smith", label=("a.nii.gz", GARBAGE[kind])), 422)
    made = requests.put(f"{server.url}/session/", files=[("files", ("a_pa.png", GARBAGE[kind]))]).json()
    detail(server.infer(session_id=made["session_id"]), 422)
    assert snapshot(studies) == before


def test_forms_that_lack_something(server, studies):
    assert "give one of these" in detail(server.infer(), 422)
    assert "give one of these" in detail(server.infer(image="smith", files=pair(studies)), 422)
    lateral_alone = {"lateral": (studies / "smith_lateral.png").open("rb")}
    assert "this model reads pa and lateral, 1 film(s) came" in detail(server.infer(files=lateral_alone), 422)
    assert "give one of these" in detail(server.infer(image="smith", files=lateral_alone), 422)
    assert "this model reads pa and lateral, 1 film(s) came" in detail(
        server.infer(files={"file": (studies / "smith_pa.png").open("rb")}), 422
    )
    assert "two different films" in detail(
        server.infer(files={name: (studies / "smith_pa.png").open("rb") for name in ("file", "lateral")}), 422
    )
    assert "output is image, json or all" in detail(server.infer("dicom_seg", image="smith"), 422)
    assert "there is no model 'other'" in detail(server.infer(model="other", image="smith"), 404)
    assert "files: Field required" in detail(requests.put(f"{server.url}/session/"), 422)
    assert "is not unpacked here" in detail(
        requests.put(f"{server.url}/session/?uncompress=true", files=[("files", ("a.zip", b"PK"))]), 422
    )


def test_large_requests_are_refused_before_they_fill_the_disk(server):
    large = {"file": ("a.png", bytes(int(LIMIT_MB * 5e6)))}
    assert "is larger than 4 MB" in detail(server.infer(files=large), 413)
    assert "is larger than 4 MB" in detail(requests.put(f"{server.url}/session/", files=large), 413)
    begin = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    chunks = (begin, *(bytes(100_000) for _ in range(60)))
    headers = {"content-type": "multipart/form-data; boundary=b"}  # and no length
    answer = requests.post(f"{server.url}/infer/x2ct", data=iter(chunks), headers=headers, timeout=60)
    assert "is larger than 4 MB" in detail(answer, 413)
    nothing_is_left(server)


def test_twenty_requests_at_once_and_info_meanwhile(server, expected):
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(server.infer, image="smith", timeout=1800) for _ in range(20)]
        time.sleep(0.5)
        waits = []
        while not all(one.done() for one in waiting):
            begun = time.monotonic()
            assert requests.get(f"{server.url}/info/", timeout=60).status_code == 200
            waits.append(time.monotonic() - begun)
            time.sleep(0.2)
        for one in waiting:
            assert_same(one.result().content, expected["smith"])
    assert len(waits) > 5
    assert np.median(waits) < 1, waits  # one prediction takes longer
    nothing_is_left(server)


def test_too_many_requests_are_sent_away(server):
    server.infer("json", image="smith")
    [worker] = server.workers()
    worker.suspend()
    refused = {"params": '{"geometry": "x2ct"}'}  # which costs no prediction
    try:
        with ThreadPoolExecutor(40) as pool:
            waiting = [pool.submit(server.infer, "json", image="smith", data=refused, timeout=900) for _ in range(40)]
            deadline = time.monotonic() + 120
            while sum(one.done() for one in waiting) < 8 and time.monotonic() < deadline:
                time.sleep(0.2)
            assert requests.get(f"{server.url}/info/", timeout=60).status_code == 200
            worker.kill()
            answers = [one.result() for one in waiting]
    finally:
        if worker.is_running():
            worker.kill()
    sentences = [answer.json()["detail"] for answer in answers if answer.status_code == 503]
    assert sum("32 requests wait already" in sentence for sentence in sentences) == 8
    assert sum("was ended, as where memory runs out" in sentence for sentence in sentences) == 1
    assert sum(answer.status_code == 422 for answer in answers) == 31


def test_killed_in_the_middle_of_a_prediction(server, expected, studies):
    before = snapshot(studies)
    server.infer("json", image="smith")
    [worker] = server.workers()
    worker.suspend()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.infer, image="smith")
        begun_predicting(server)
        worker.kill()
        assert "send the request again" in detail(waiting.result(), 503)
    assert_same(server.infer(image="smith").content, expected["smith"])
    assert snapshot(studies) == before
    nothing_is_left(server)


def test_a_server_that_is_killed_leaves_nothing_half_stored(archive, studies, tmp_path, expected):
    before = snapshot(studies)
    server = LabelServer(archive, tmp_path, studies).start()
    server.infer("json", image="smith")
    [worker] = server.workers()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.infer, image="smith")
        begun_predicting(server)
        server.stop(signal.SIGKILL)
        with pytest.raises(requests.ConnectionError):
            waiting.result()
    worker.wait(120)  # ends with its parent
    assert snapshot(studies) == before
    server.start()
    assert_same(server.infer(image="smith").content, expected["smith"])
    server.stop()
    assert snapshot(studies) == before


def test_nothing_stays_after_the_end(archive, studies, tmp_path):
    server = LabelServer(archive, tmp_path, studies).start()
    requests.put(f"{server.url}/session/", files=[("files", ("a_pa.png", b"x"))])
    assert list(server.temporary.iterdir())
    server.stop()
    assert not list(server.temporary.iterdir())
    assert not any(word in server.log.read_text() for word in ("Traceback", "smith"))


def test_it_listens_to_this_computer_alone(server):
    connections = psutil.Process(server.process.pid).net_connections("tcp")
    assert {one.laddr.ip for one in connections if one.status == "LISTEN"} == {"127.0.0.1"}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", server.port), timeout=5)


def test_ohif_is_served(server):
    page = requests.get(f"{server.url}/ohif/")
    assert "OHIF" in page.text
    script = requests.get(f"{server.url}/ohif/app-config.js")
    assert "/proxy/dicom" in script.text
    assert requests.get(f"{server.url}/ohif/assets/favicon.ico").headers["content-type"].startswith("image/")
    answer = requests.get(f"{server.url}/proxy/dicom/qido/studies")
    assert "there is no archive behind this server" in detail(answer, 404)


def test_films_and_cts_are_added_and_not_overwritten(server, studies, expected, tmp_path):
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    for view in ("pa", "lateral"):
        made = client.upload_image(str(studies / f"smith_{view}.png"), f"jones_{view}")
        assert made == {"image": "jones"}
    file, _ = client.infer("x2ct", "jones", {})
    assert_same(Path(file).read_bytes(), expected["smith"])
    again = put(server, "datastore/", "jones_pa", file=(studies / "smith_lateral.png").open("rb"))
    assert "jones_pa is there already, and is not overwritten" in detail(again, 409)
    assert (studies / "jones_pa.png").read_bytes() == (studies / "smith_pa.png").read_bytes()

    predicted = ("a.nii.gz", Path(file).read_bytes())
    answer = put(server, "datastore/label", "jones", label=predicted)
    assert "predicted from radiographs and is no truth" in detail(answer, 422)
    client.save_label("jones", file, "original")
    truth = tmp_path / "truth.nii.gz"
    hu = phantom(1)[::-1].transpose(2, 1, 0).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([-2.5, -2.5, 2.5, 1])), truth)
    client.save_label("jones", str(truth), "final")
    assert (studies / "labels" / "final" / "jones.nii.gz").read_bytes() == truth.read_bytes()
    assert requests.get(f"{server.url}/info/").json()["datastore"]["completed"] == 1
    got = requests.get(f"{server.url}/datastore/label", params={"label": "jones", "tag": "final"})
    assert got.content == truth.read_bytes()
    answer = put(server, "datastore/label", "jones", label=("truth.nii.gz", truth.read_bytes()))
    assert "has a CT with the tag final already" in detail(answer, 409)
    for path in [*studies.glob("jones*"), *studies.glob("labels/*/jones*")]:
        path.unlink()
    assert requests.get(f"{server.url}/info/").json()["datastore"]["total"] == 3


def test_studies_are_ranked_by_their_reprojection_error(server, studies):
    first = requests.post(f"{server.url}/activelearning/reprojection")
    assert "no study is scored yet; POST /scoring/reprojection first" in detail(first, 409)
    assert "there is no strategy 'x'" in detail(requests.post(f"{server.url}/activelearning/x"), 404)
    assert "there is no scoring method 'dice'" in detail(requests.post(f"{server.url}/scoring/dice"), 404)
    score_studies(server)
    scores = {}
    for name in ("smith", "one_series", "two_series"):
        score = requests.get(f"{server.url}/datastore/image/info", params={"image": name}).json()["reprojection"]
        said = server.infer("json", image=name, data={"params": '{"consistency": "auto"}'}).json()["consistency"]
        shares = np.array(said["before"]) / np.array(said["spread"])
        assert score["error"] == pytest.approx(np.sqrt(np.mean(shares**2)), abs=1e-5)
        scores[name] = score["error"]
    sample = MONAILabelClient(server.url).next_sample("reprojection", {})
    assert scores[sample["id"]] == max(scores.values())
    assert [pair[0] for pair in sample["ranking"]] == sorted(scores, key=lambda name: (-scores[name], name))
    assert str(studies) not in json.dumps(sample)
    assert requests.post(f"{server.url}/activelearning/random").json()["id"] in scores
