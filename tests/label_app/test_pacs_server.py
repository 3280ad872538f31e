"""The app on a real archive: studies found, predicted and stored by DICOMweb, and an archive that is away."""

import json
import time

import numpy as np
import pydicom
import pytest
import requests

from tests.label_app.conftest import assert_same, film, infer_by_command
from tests.orthanc import PASSWORD, USER, Orthanc

pytest.importorskip("monailabel", reason="MONAI Label is not installed; make test-label has an environment with it")

import dicomweb_client

from tests.label_app.label_server import LabelServer, score_studies

pytestmark = pytest.mark.slow

ACCOUNT = {"X2CT_DICOMWEB_USER": USER, "X2CT_DICOMWEB_PASSWORD": PASSWORD}
STUDIES = {"2.25.2": "DX in one series", "2.25.3": "CR in two series", "2.25.4": "no lateral"}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    """An archive with three studies; that of seed 2 is DX in one series, that of seed 3 CR in two."""
    made = Orthanc(tmp_path_factory.mktemp("orthanc"))
    made.start()
    client = dicomweb_client.DICOMwebClient(made.url, made.session)
    client.set_http_retry_params(retry=False)
    alone = {"StudyInstanceUID": "2.25.4", "SeriesInstanceUID": "2.25.41", "SOPInstanceUID": "2.25.42"}
    client.store_instances([film(2, "PA"), film(2, "LL"), film(2, "PA", **alone)])
    client.store_instances([film(3, "PA", "CR"), film(3, "LL", "CR", SeriesInstanceUID="2.25.39")])
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(archive, orthanc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    made = LabelServer(archive, folder, orthanc.url, environment=ACCOUNT).start()
    yield made
    made.stop()
    log = made.log.read_text()
    assert not any(secret in log for secret in (PASSWORD, "Quetzal", "MRN-"))
    assert not list(made.temporary.iterdir())


@pytest.fixture(scope="module")
def expected(archive, tmp_path_factory):
    found = {}
    for seed, kind in ((2, "DX"), (3, "CR")):
        folder = tmp_path_factory.mktemp("films")
        film(seed, "PA", kind).save_as(folder / "pa.dcm")
        film(seed, "LL", kind).save_as(folder / "lateral.dcm")
        films = {"pa": folder / "pa.dcm", "lateral": folder / "lateral.dcm"}
        found[f"2.25.{seed}"] = infer_by_command(archive, tmp_path_factory.mktemp("out"), **films)
    return found


def detail(answer, status):
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    return answer.json()["detail"]


def stored(orthanc):
    """HU of the CTs in the archive, study -> (slices, rows, columns) from the feet to the head."""
    found = {}
    asked = {"Level": "Series", "Query": {"Modality": "CT"}, "Expand": True}
    for series in orthanc.ask("POST", "/tools/find", json=asked):
        files = [orthanc.session.get(f"{orthanc.root}/instances/{one}/file").content for one in series["Instances"]]
        images = [pydicom.dcmread(pydicom.filebase.DicomBytesIO(content)) for content in files]
        images.sort(key=lambda image: image.ImagePositionPatient[2])
        study = str(images[0].StudyInstanceUID)
        assert study not in found
        found[study] = np.stack([image.pixel_array.astype(int) - 1024 for image in images])
    return found


def test_the_studies_are_those_of_the_archive(server):
    found = requests.get(f"{server.url}/datastore/", params={"output": "all"}).json()
    assert found["objects"].keys() == STUDIES.keys()
    assert requests.get(f"{server.url}/info/").json()["datastore"]["total"] == 3


@pytest.mark.parametrize("study", ["2.25.2", "2.25.3"])
def test_a_study_is_what_inferring_writes(server, expected, study):
    answer = server.infer(image=study)
    assert answer.status_code == 200, answer.text
    assert_same(answer.content, expected[study])


@pytest.mark.parametrize("study", ["2.25.2", "2.25.3"])
def test_the_ct_is_stored_once_and_is_what_inferring_writes(server, orthanc, expected, study):
    params = {"params": json.dumps({"store": True})}
    said = server.infer("json", image=study, data=params).json()
    assert (said["stored"], said["synthetic"]) == ("done", True)
    ras = np.asarray(expected[study].dataobj)
    np.testing.assert_array_equal(stored(orthanc)[study], _from_feet(ras, expected[study].affine))
    count = len(orthanc.images())
    assert server.infer("json", image=study, data=params).json() == {"stored": "held"}
    assert "the archive holds this CT already" in detail(server.infer(image=study, data=params), 409)
    assert len(orthanc.images()) == count
    assert (
        requests.get(f"{server.url}/info/").json()["datastore"]["total"] == 3
    )  # a synthetic CT is no study of its own


def _from_feet(voxels, affine):
    """(X, Y, Z) in the axes of the affine to (slices, rows, columns): feet to head, front to back, right to left."""
    order = np.abs(affine[:3, :3]).argmax(0)
    volume = voxels.transpose(np.argsort(order))
    signs = [np.sign(affine[axis, list(order).index(axis)]) for axis in range(3)]
    wanted = (-1, -1, 1)  # RAS: columns to the left, rows to the back, slices to the head
    flips = tuple(slice(None, None, int(sign * want)) for sign, want in zip(signs, wanted, strict=True))
    return volume[flips].transpose(2, 1, 0)


def test_ids_that_are_no_study(server, orthanc):
    for name in ("2.25.99", "../../instances", "2.25.2/series", "*", "2.25.2?x", "..", "/etc/passwd", "1" * 65):
        assert "there is no study" in detail(server.infer(image=name), 404)
        assert detail(server.infer("json", image=name, data={"params": '{"store": true}'}), 404)
    assert "does not hold a PA and a lateral film" in detail(server.infer(image="2.25.4"), 422)
    store = {"params": '{"store": true}'}
    assert "does not hold a PA and a lateral film" in detail(server.infer("json", image="2.25.4", data=store), 422)
    files = {"file": ("a.png", b"x"), "lateral": ("b.png", b"x")}
    assert "store needs the id of a study" in detail(server.infer("json", files=files, data=store), 422)


def test_nothing_is_added_but_synthetic_cts(server, orthanc):
    before = {image["ID"] for image in orthanc.images()}
    films = {"file": ("a.png", b"x")}
    answer = requests.put(f"{server.url}/datastore/", params={"image": "a"}, files=films)
    assert "store films there" in detail(answer, 405)
    label = {"label": ("a.nii.gz", b"x")}
    answer = requests.put(f"{server.url}/datastore/label", params={"image": "2.25.2"}, files=label)
    assert "store CTs there" in detail(answer, 405)
    assert requests.post(f"{server.url}/proxy/dicom/studies", data=b"x").status_code == 405
    assert requests.get(f"{server.url}/datastore/image", params={"image": "2.25.2"}).status_code == 404
    assert {image["ID"] for image in orthanc.images()} == before


def test_ohif_reads_the_archive_and_nothing_else_of_it(server, orthanc):
    headers = {"Accept": "application/dicom+json"}
    found = requests.get(f"{server.url}/proxy/dicom/qido/studies?StudyInstanceUID=2.25.2", headers=headers)
    assert [one["0020000D"]["Value"] for one in found.json()] == [["2.25.2"]]
    image = requests.get(
        f"{server.url}/proxy/dicom/wado/studies/2.25.2/series/2.25.21/instances/2.25.211",
        headers={"Accept": 'multipart/related; type="application/dicom"'},
    )
    assert image.content.count(b"DICM") == 1
    assert "multipart/related" in image.headers["content-type"]
    for path in ("..%2finstances", "%2e%2e/instances", "wado/..%2f..%2fsystem", "studies%3f../x", "..\\instances"):
        prepared = requests.Request("GET", f"{server.url}/x").prepare()
        prepared.url = f"{server.url}/proxy/dicom/{path}"
        answer = requests.Session().send(prepared, timeout=30)
        assert "is no address below the root" in detail(answer, 422)
    assert requests.get(f"{server.url}/proxy/dicom/nothing").status_code == 404


def test_studies_of_an_archive_are_scored(server):
    score_studies(server)
    sample = requests.post(f"{server.url}/activelearning/reprojection").json()
    assert {name for name, _ in sample["ranking"]} == {"2.25.2", "2.25.3"}
    lacking = requests.get(f"{server.url}/datastore/image/info", params={"image": "2.25.4"}).json()
    assert "does not hold a PA and a lateral film" in lacking["reprojection"]["problem"]


def test_an_archive_that_is_away_is_one_sentence_and_comes_back(server, orthanc, expected):
    before = len(orthanc.images())
    orthanc.stop()
    try:
        time.sleep(20)  # the list of studies is not asked for again before
        begun = time.monotonic()
        status = requests.get(f"{server.url}/info/", timeout=60).json()["datastore"]
        assert "cannot be reached; check the address, and that the archive runs" in status["problem"]
        assert time.monotonic() - begun < 15
        assert "cannot be reached" in detail(server.infer(image="2.25.2"), 502)
        store = {"params": '{"store": true}'}
        assert "cannot be reached" in detail(server.infer("json", image="2.25.2", data=store), 502)
        assert "cannot be reached" in detail(requests.get(f"{server.url}/proxy/dicom/studies"), 502)
        assert "cannot be reached" in detail(requests.get(f"{server.url}/datastore/?output=all"), 502)
        assert requests.get(f"{server.url}/openapi.json").ok
    finally:
        orthanc.start()
    time.sleep(20)
    assert_same(server.infer(image="2.25.2").content, expected["2.25.2"])
    assert len(orthanc.images()) == before


def test_wrong_credentials_are_one_sentence(archive, orthanc, tmp_path):
    wrong = {**ACCOUNT, "X2CT_DICOMWEB_PASSWORD": "not-the-one"}
    server = LabelServer(archive, tmp_path, orthanc.url, environment=wrong).start()
    try:
        problem = requests.get(f"{server.url}/info/").json()["datastore"]["problem"]
        assert "refuses these credentials (HTTP 401)" in problem
        assert "refuses these credentials" in detail(server.infer(image="2.25.2"), 502)
    finally:
        server.stop()
    assert "not-the-one" not in server.log.read_text()
