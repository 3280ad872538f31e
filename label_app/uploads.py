"""Limit the size of requests, and keep uploads in a folder until they are answered."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import UploadFile

from conventions import View

from .errors import RequestError
from .films import upload_name

READ_ON = 8
"""Times the limit up to which a request that is too large is read, and dropped, before it is answered."""

SESSION_S = 3600
"""Seconds for which the films of a session are kept."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class LimitedBody:
    """Layer of a server that refuses requests with a large body, before they fill the disk.

    Args:
        app: the server.
        limit: largest body in bytes, as a function, since it is known once the server starts.
    """

    def __init__(self, app: Any, limit: Callable[[], float]) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit()
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if not stated.isdigit() or int(stated) > limit:
            await self._refuse(limit, receive, send)
            return
        seen, refused, answered = 0, False, False

        async def counted() -> Message:
            nonlocal seen, refused
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def guarded(message: Message) -> None:
            nonlocal answered
            if not refused:
                answered = True
                await send(message)

        try:
            await self.app(scope, counted, guarded)
        except Exception:
            if not refused:
                raise
        if refused and not answered:
            await self._refuse(limit, receive, send)

    @staticmethod
    async def _refuse(limit: float, receive: Receive, send: Send) -> None:
        read, more = 0, True
        while more and read < READ_ON * limit:  # many clients read no answer before all is sent
            message = await receive()
            read += len(message.get("body", b""))
            more = message.get("more_body", False)
        sentence = f"the request is larger than {limit / 1e6:g} MB; send less, or start the server with --max_upload_mb"
        body = json.dumps({"detail": sentence}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def keep_films(folder: Path, uploads: Sequence[tuple[UploadFile, View]]) -> list[Path]:
    """Keep uploaded films, each of a view that is known.

    Args:
        folder: folder of the files, which is made.
        uploads: the uploads and their views.

    Returns:
        The files, each named after its view.
    """
    folder.mkdir()
    return [_keep(upload, folder / upload_name(upload.filename, view)) for upload, view in uploads]


def keep_session(sessions: Path, uploads: Sequence[UploadFile]) -> str:
    """Keep uploads for the requests that follow, and remove those that were kept for `SESSION_S`.

    Args:
        sessions: folder of the sessions.
        uploads: films of one study, whose names or tags say their views.

    Returns:
        Name of the session, which cannot be guessed.

    Raises:
        RequestError: where a name cannot be used.
    """
    for folder in sessions.iterdir() if sessions.is_dir() else ():
        if time.time() - folder.stat().st_mtime > SESSION_S:
            shutil.rmtree(folder, ignore_errors=True)
    names = [upload_name(upload.filename) for upload in uploads]
    name = str(uuid.uuid4())
    unfinished = sessions / f".{name}"
    unfinished.mkdir(parents=True)
    try:
        for number, (upload, file) in enumerate(zip(uploads, names, strict=True)):
            place = unfinished / (file if names.count(file) == 1 else f"{number}-{file}")
            _keep(upload, place)
        unfinished.rename(sessions / name)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return name


def session_folder(sessions: Path, name: str) -> Path:
    """Return the folder of a session.

    Args:
        sessions: folder of the sessions.
        name: name of the session.

    Raises:
        RequestError: where there is no such session.
    """
    try:
        folder = sessions / str(uuid.UUID(name))
    except ValueError:
        folder = sessions / "none"
    if not folder.is_dir():
        raise RequestError(f"there is no session {name[:80]!r}; make one with PUT /session/", 404)
    return folder


def _keep(upload: UploadFile, place: Path) -> Path:
    with place.open("xb") as file:
        shutil.copyfileobj(upload.file, file)
    return place
