"""Answer the requests of MONAI Label's clients.

The routes are MONAI Label's, and so are the answers; MONAI Label's own server (`monailabel.app`) runs everything on its
event loop, so that nothing is answered during an inference, takes any path on the server for an image, answers bad
input with status 500 and no word, and lets anybody replace or remove models and images. So the routes are here, without
those that do the last.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import BackgroundTasks, FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from monailabel.endpoints import activelearning, scoring, train
from monailabel.endpoints.infer import send_response
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.utils.app import app_instance

from conventions import InputError, View
from export import PacsError

from .app import MODEL
from .errors import RequestError
from .options import read_options
from .reprojection import SCORE
from .store import PacsStore
from .train_options import read_train_options
from .uploads import LimitedBody, keep_films, keep_session, session_folder
from .viewer import router as viewer

WAITING = 32
"""Requests for a CT that wait at most; each holds its uploads."""

Film = Annotated[UploadFile | None, File()]
"""Upload that may be missing."""


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the app before the first request, and end the process that predicts with the server."""
    made = app_instance()
    made.server_mode(True)
    threading.Thread(target=made.open, daemon=True).start()
    yield
    made.close()


app = FastAPI(title="X2CT for MONAI Label", lifespan=lifespan)
app.add_middleware(LimitedBody, limit=lambda: app_instance().settings.max_upload_mb * 1e6)
app.include_router(viewer)
turns, threads = anyio.CapacityLimiter(WAITING), anyio.CapacityLimiter(WAITING)


@app.exception_handler(InputError)
def answer_bad_input(_: Request, error: InputError) -> JSONResponse:
    """Answer with the sentence: 502 where the archive is the cause, else 4xx."""
    status = error.status if isinstance(error, RequestError) else 502 if isinstance(error, PacsError) else 422
    return JSONResponse({"detail": _without_folders(str(error))}, status)


@app.exception_handler(RequestValidationError)
def answer_bad_form(_: Request, error: RequestValidationError) -> JSONResponse:
    """Answer with one sentence, without what was sent."""
    faults = [f"{'.'.join(map(str, fault['loc'][1:])) or 'the request'}: {fault['msg']}" for fault in error.errors()]
    return JSONResponse({"detail": "; ".join(faults)}, 422)


@app.exception_handler(MONAILabelException)
def answer_monai_label(_: Request, error: MONAILabelException) -> JSONResponse:
    """Answer what MONAI Label refuses."""
    return JSONResponse({"detail": str(error.msg)}, 404)


@app.exception_handler(Exception)
def answer_failure(_: Request, error: Exception) -> JSONResponse:
    """Answer an error of the software, without its message, which may name the patient."""
    return JSONResponse({"detail": f"failed with {type(error).__name__}; see the log of the server"}, 500)


@app.get("/", include_in_schema=False)
def root() -> Response:
    """Lead to the description of the routes."""
    return Response(status_code=307, headers={"location": "/docs"})


@app.get("/info/")
def info() -> dict[str, Any]:
    """Describe the app, its model and its studies."""
    return app_instance().info()


@app.post("/infer/{model}")
async def infer(
    background: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    output: str = "all",
    params: Annotated[str, Form()] = "{}",
    file: Film = None,
    lateral: Film = None,
    label: Film = None,
) -> Any:
    """Predict a CT: of a study by its id, of a session, or of uploads.

    `file` is the PA film and `lateral` the other (MONAILabelClient can only call it `label`). `params` is JSON
    (`options.read_options`). `output` is image (NIfTI), json (what is said about the CT) or all.
    """
    if output not in ("image", "json", "all"):
        raise RequestError(f"output is image, json or all, got {output[:80]!r}")
    films = ((file, View.PA), (lateral or label, View.LATERAL))
    uploads = [(upload, view) for upload, view in films if upload is not None]
    if sum(map(bool, (image, session_id, uploads))) != 1:
        raise RequestError("give one of these: image, the id of a study; session_id; or file, a film")
    options = read_options(params)
    request = {"model": model, "image": image, "params": {**options.keys, "store": options.store}}
    turn = object()
    try:
        turns.acquire_on_behalf_of_nowait(turn)
    except anyio.WouldBlock as error:
        raise RequestError(f"{WAITING} requests wait already; send this one again later", 503) from error
    work = Path(tempfile.mkdtemp(prefix="request-", dir=app_instance().settings.work))
    background.add_task(shutil.rmtree, work, True)
    try:
        return await anyio.to_thread.run_sync(
            partial(_predict, request, work, session_id, uploads, output, background), limiter=threads
        )
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    finally:
        turns.release_on_behalf_of(turn)


def _predict(
    request: dict[str, Any],
    work: Path,
    session_id: str,
    uploads: list[tuple[UploadFile, View]],
    output: str,
    background: BackgroundTasks,
) -> Any:
    """Predict, in a thread, since it waits for the process that does."""
    if session_id:
        request["films"] = [session_folder(_sessions(), session_id)]
    elif uploads:
        request["films"] = keep_films(work / "uploads", uploads)
    result = app_instance().infer({**request, "folder": str(work)})
    return _answer(result, output, background)


def _answer(result: dict[str, Any], output: str, background: BackgroundTasks) -> Any:
    if output == "image" and not result["file"]:
        raise RequestError("the archive holds this CT already, so it was not predicted again; fetch it from there", 409)
    if output == "json" or not result["file"]:
        return result["params"]
    return send_response(app_instance().datastore(), result, output, background)


@app.put("/session/")
def make_session(files: Annotated[list[UploadFile], File()], uncompress: bool = False) -> dict[str, Any]:
    """Keep the films of one study for the requests that follow."""
    if uncompress:
        raise RequestError("an archive of files is not unpacked here; send each film as a part named files")
    return {"session_id": keep_session(_sessions(), files), "session_info": {"files": len(files)}}


@app.get("/session/{session_id}")
def find_session(session_id: str) -> dict[str, Any]:
    """Say whether a session is there."""
    return {"session_id": session_id, "files": len(list(session_folder(_sessions(), session_id).iterdir()))}


@app.delete("/session/{session_id}")
def remove_session(session_id: str) -> dict[str, Any]:
    """Remove the films of a session."""
    shutil.rmtree(session_folder(_sessions(), session_id))
    return {}


@app.get("/datastore/")
def studies(output: str = "stats") -> dict[str, Any]:
    """Count the studies, or list them."""
    store = app_instance().datastore()
    if output not in ("stats", "all"):
        raise RequestError(f"output is stats or all, got {output[:80]!r}")
    if output == "all":
        store.list_images()
        return store.json()
    return store.status()


@app.put("/datastore/image")
@app.put("/datastore/", include_in_schema=False)
def add_film(file: Annotated[UploadFile, File()], image: str = "") -> dict[str, str]:
    """Add a film to the folder of studies, under an id such as smith_pa."""
    store = app_instance().datastore()
    with _uploaded(file) as path:
        return {"image": store.add_image(image or Path(file.filename or "").name.split(".")[0], path, {})}


@app.get("/datastore/image")
@app.head("/datastore/image", include_in_schema=False)
def film(image: str) -> FileResponse:
    """Return the first film of a study."""
    store = app_instance().datastore()
    store.check(image)
    path = Path(store.get_image_uri(image))
    if isinstance(store, PacsStore) or not path.is_file():
        raise RequestError(f"{image}: is a study of several files, which are not sent; use them where they are", 404)
    return FileResponse(path, filename=path.name)


@app.get("/datastore/image/info")
def film_info(image: str) -> dict[str, Any]:
    """Return what is known about a study, such as its score."""
    store = app_instance().datastore()
    store.check(image)
    return store.get_image_info(image)


@app.put("/datastore/label")
def add_ct(image: str, label: Annotated[UploadFile, File()], tag: str = "") -> dict[str, str]:
    """Save a CT of a study: the true one with the tag final, which is trained on, or another one with original."""
    with _uploaded(label) as path:
        return {"image": image, "label": app_instance().datastore().save_label(image, path, tag or "final", {})}


@app.get("/datastore/label")
@app.head("/datastore/label", include_in_schema=False)
def ct(label: str, tag: str) -> FileResponse:
    """Return a CT that was saved with a study."""
    store = app_instance().datastore()
    store.check(label)
    path = Path(store.get_label_uri(label, tag))
    if not path.is_file():
        raise RequestError(f"{label}: has no CT with the tag {tag[:80]!r}", 404)
    return FileResponse(path, filename=path.name)


@app.post("/activelearning/{strategy}")
def next_study(strategy: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Choose the next study."""
    return activelearning.sample(strategy, {key: value for key, value in (params or {}).items() if key == "client_id"})


@app.post("/scoring/{method}")
def score(method: str) -> dict[str, Any]:
    """Score all studies, in a process of its own."""
    if method != SCORE:
        raise RequestError(f"there is no scoring method {method[:80]!r}; there is {SCORE}", 404)
    return _plain(scoring.run_method(method, {"model": MODEL}))


@app.get("/scoring/")
def scoring_status(all: bool = False, check_if_running: bool = False) -> Any:
    """Say how far the scoring is."""
    return _plain(scoring.status(all, check_if_running))


@app.delete("/scoring/")
def stop_scoring() -> Any:
    """Stop the scoring."""
    return _plain(scoring.stop())


@app.post("/train/{model}")
def start_training(model: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Train the model further on the true CTs, in a process of its own."""
    if model not in app_instance().trainers():
        raise RequestError(
            f"there is no training of {model[:80]!r}; it needs a server on the bundle of a model (export archive)", 404
        )
    return _plain(train.run_model(model, vars(read_train_options(params)), run_sync=False, enqueue=False))


@app.get("/train/")
def training_status(all: bool = False, check_if_running: bool = False) -> Any:
    """Say how far the training is."""
    return _plain(train.status(all, check_if_running))


@app.delete("/train/")
def stop_training() -> Any:
    """Stop the training."""
    return _plain(train.stop())


def _sessions() -> Path:
    return Path(app_instance().settings.work) / "sessions"


@contextlib.contextmanager
def _uploaded(upload: UploadFile) -> Any:
    """Keep an upload under its own name as long as it is looked at."""
    with tempfile.TemporaryDirectory(dir=app_instance().settings.work, prefix="request-") as folder:
        [path] = keep_films(Path(folder) / "uploads", [(upload, View.PA)])
        yield str(path)


def _without_folders(sentence: str) -> str:
    """Take the folders of the server out of a sentence."""
    made = app_instance()
    for folder in (made.settings.work, made.studies):
        sentence = sentence.replace(f"{folder}/", "")
    return re.sub(r"request-[^/ ]+/uploads/", "", sentence)


def _plain(task: Any) -> Any:
    """Return the description of a task as JSON can hold it, without the settings of the server."""
    if isinstance(task, list):
        return [_plain(one) for one in task]
    if isinstance(task, dict):
        return {key: list(value) if key == "details" else value for key, value in task.items() if key != "request"}
    return task
