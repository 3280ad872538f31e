"""Serve OHIF, which comes with MONAI Label, and let it read the archive."""

from __future__ import annotations

from pathlib import Path

import monailabel
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from monailabel.interfaces.utils.app import app_instance

from .errors import RequestError

OHIF = Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"
"""Folder of the viewer."""

router = APIRouter()


@router.get("/ohif", include_in_schema=False)
def ohif_root() -> RedirectResponse:
    """Lead to the list of studies."""
    return RedirectResponse("/ohif/")


@router.get("/ohif/{path:path}", include_in_schema=False)
def ohif(path: str) -> FileResponse:
    """Return a file of the viewer; its page for every other address, which it reads itself."""
    file = (OHIF / path).resolve()
    return FileResponse(file if file.is_file() and OHIF.resolve() in file.parents else OHIF / "index.html")


@router.get("/proxy/dicom/{path:path}", include_in_schema=False)
def proxy(path: str, request: Request) -> Response:
    """Return what the archive answers, asked with the credentials of the server. Nothing can be stored this way."""
    archive = app_instance().archive
    if archive is None:
        raise RequestError("there is no archive behind this server, but a folder", 404)
    below = path.removeprefix("wado/").removeprefix("qido/")
    status, media_type, body = archive.fetch(below, request.url.query, request.headers.get("accept", "*/*"))
    return Response(body, status, media_type=media_type)
