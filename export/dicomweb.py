"""Ask a DICOMweb service, with credentials, time-outs and retries, and turn what goes wrong into one sentence."""

from __future__ import annotations

import ipaddress
import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from monai.utils import optional_import

from conventions import InputError

pydicom, _ = optional_import("pydicom")
dicomweb, has_dicomweb = optional_import("dicomweb_client")
requests, _ = optional_import("requests")

logger = logging.getLogger("x2ct.export")

USER, PASSWORD, TOKEN = (f"X2CT_DICOMWEB_{name}" for name in ("USER", "PASSWORD", "TOKEN"))
"""Environment variables of the credentials: user name and password, or a bearer token."""

CONNECT_S = 10.0
"""Longest wait for a connection, in seconds."""

WAITS_S = (1.0, 3.0, 9.0)
"""Waits before a request is tried again, in seconds."""

PASSING = (408, 429, 500, 502, 503, 504)
"""HTTP statuses that may be gone the next time."""

REFUSED = (401, 403, 407)
"""HTTP statuses of credentials that are wrong or do not suffice."""

T = TypeVar("T")


class PacsError(InputError):
    """Archive that cannot be reached or refuses the credentials, for every study alike."""


class DicomWeb:
    """DICOMweb service (PS3.18: QIDO-RS, WADO-RS, STOW-RS) that is asked with credentials, time-outs and retries.

    Credentials are read from the environment (`X2CT_DICOMWEB_USER` and `X2CT_DICOMWEB_PASSWORD`, or
    `X2CT_DICOMWEB_TOKEN`), else from the file ~/.netrc, or the one that `NETRC` names. They are never written or
    logged. A request that fails for a reason that may pass is tried again; what is stored twice is kept once, since
    images are named by their UIDs.

    Args:
        url: root of the service, such as http://127.0.0.1:8042/dicom-web.
        timeout_s: longest silence of the archive, in seconds.
        waits_s: waits before a request is tried again, in seconds.

    Raises:
        InputError: where the address or the time-out cannot be used, credentials are incomplete, or dicomweb-client is
            missing.
    """

    def __init__(self, url: str, timeout_s: float = 60, waits_s: Sequence[float] = WAITS_S) -> None:
        if not has_dicomweb:
            raise InputError("reaching a PACS needs the package dicomweb-client; install it")
        host = _checked_host(url)
        if not isinstance(timeout_s, (int, float)) or not 0 < timeout_s < float("inf"):
            raise InputError(f"the time-out is a number of seconds above 0, got {timeout_s}")
        self.url, self.timeout_s, self.waits_s = url.rstrip("/"), timeout_s, tuple(waits_s)
        session = requests.Session()
        session.auth = _credentials()
        if session.auth and url.startswith("http:") and not _is_loopback(host):
            logger.warning("%s: the credentials are sent without encryption; give an address with https", self.url)
        timeout = (min(CONNECT_S, timeout_s), timeout_s)
        # set here, since dicomweb-client 0.60 knows no time-out
        session.request = lambda *words, **options: requests.Session.request(
            session, *words, **{**options, "timeout": timeout}
        )
        logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)  # it logs each UID
        self._session = session
        self.client = dicomweb.DICOMwebClient(self.url, session, permissive_uid=True)
        self.client.set_http_retry_params(retry=False)  # its own retry sends a large body empty

    def search(self, uid: str, search: Callable[..., Any]) -> list[Any]:
        """Return all that a search finds, page by page.

        Args:
            uid: keyword of the UID by which results are distinguished.
            search: a search of the client, which takes `offset`.

        Returns:
            pydicom Datasets, each once.

        Raises:
            InputError: where the search fails.
        """
        found: dict[str, Any] = {}
        received = 0
        while page := self.ask(partial(_page, search, uid, received)):
            new = {name: one for name, one in page if name not in found}
            if not new:  # the archive began again with its first page
                break
            found |= new
            received += len(page)
        return list(found.values())

    def ask(self, request: Callable[[], T]) -> T:
        """Make a request, several times where it fails for a reason that may pass.

        Args:
            request: asks the client.

        Returns:
            What the request returns.

        Raises:
            InputError: where it fails; a `PacsError` where another request would fail too.
        """
        for wait_s in (*self.waits_s, None):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # pydicom's warnings repeat the values of tags
                    return request()
            except Exception as error:  # the client raises whatever an answer that is no DICOM happens to cause
                if wait_s is None or not _may_pass(error):
                    raise self._refusal(error) from error
                time.sleep(wait_s)
        raise AssertionError("unreachable")

    def fetch(self, path: str, query: str = "", accept: str = "*/*") -> tuple[int, str, bytes]:
        """Fetch what the service answers to one address below its root, for a program that speaks DICOMweb itself.

        Args:
            path: address below the root.
            query: what follows the question mark.
            accept: media types that the program takes.

        Returns:
            HTTP status, media type and body.

        Raises:
            InputError: where the path leads out of the service, or the service does not answer.
        """
        if {".", ".."} & set(path.replace("\\", "/").split("/")) or "?" in path or "#" in path:
            raise InputError(f"{path[:80]!r} is no address below the root of a DICOMweb service; leave out . and ..")
        address = f"{self.url}/{quote(path.lstrip('/'), safe='/')}"

        def get() -> Any:
            return self._session.get(address, params=query, headers={"Accept": accept}, allow_redirects=False)

        answer = self.ask(get)
        return answer.status_code, answer.headers.get("content-type", "application/octet-stream"), answer.content

    def _refusal(self, error: Exception) -> InputError:
        """Return the sentence for a request that failed. Nothing of the error's text is in it."""
        status = _status(error)
        if status in REFUSED:
            return PacsError(
                f"{self.url}: refuses these credentials (HTTP {status}); check {USER} and {PASSWORD}, "
                f"{TOKEN}, or ~/.netrc"
            )
        if status is not None:
            return InputError(
                f"{self.url}: answers HTTP {status}; check that it is the root of a DICOMweb service, "
                "and that the study is still there"
            )
        if isinstance(error, requests.exceptions.SSLError):
            return PacsError(
                f"{self.url}: has a certificate that is not trusted; name the file of its authority "
                "by REQUESTS_CA_BUNDLE"
            )
        if isinstance(error, requests.exceptions.Timeout):
            return PacsError(f"{self.url}: does not answer within {self.timeout_s:g} s; check the archive")
        if _may_pass(error):
            return PacsError(f"{self.url}: cannot be reached; check the address, and that the archive runs")
        return InputError(f"{self.url}: answers what is no DICOM; check that it is the root of a DICOMweb service")


def datasets(answer: Any, keywords: Sequence[str] = ()) -> list[Any]:
    """Read images from the JSON of DICOM (PS3.18 F).

    Args:
        answer: the images.
        keywords: tags to read; all where none is named.

    Returns:
        pydicom Datasets.
    """
    tags = {f"{pydicom.datadict.tag_for_keyword(keyword):08X}" for keyword in keywords}
    kept = [{tag: value for tag, value in one.items() if not tags or tag.upper() in tags} for one in answer]
    return [pydicom.Dataset.from_json(one) for one in kept]


def _page(search: Callable[..., Any], uid: str, offset: int) -> list[tuple[str, Any]]:
    """Return a page of what a search finds, each with its UID."""
    return [(str(one[uid].value), one) for one in datasets(search(offset=offset))]


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an answer that is an error."""
    return error.response.status_code if isinstance(error, requests.exceptions.HTTPError) else None


def _may_pass(error: Exception) -> bool:
    """Return whether the same request may succeed later."""
    known = requests.exceptions
    passing = (known.ConnectionError, known.Timeout, known.ChunkedEncodingError)
    refused = isinstance(error, known.SSLError)
    return _status(error) in PASSING or (isinstance(error, passing) and not refused)


def _checked_host(url: str) -> str:
    """Return the host of an address, after checking the address."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise InputError(
            f"{url}: is no address of a DICOMweb service; give one such as http://127.0.0.1:8042/dicom-web"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"the address of the archive at {host} holds more than a path; give credentials by {USER} and {PASSWORD}, "
            f"by {TOKEN}, or in ~/.netrc"
        )
    return host


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _credentials() -> Any:
    """Return what requests takes as authorisation; None leaves it to ~/.netrc."""
    user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
    for name, value in ((USER, user), (PASSWORD, password), (TOKEN, token)):
        if not value.isprintable() or (name == TOKEN and not value.isascii()):
            raise InputError(f"{name}: holds characters that cannot be sent; set it again")
    if token:
        return partial(_bear, token)
    if bool(user) != bool(password):
        raise InputError(f"{USER} and {PASSWORD} belong together; set both, or none")
    return (user.encode(), password.encode()) if user else None


def _bear(token: str, request: Any) -> Any:
    """Add a bearer token to a request (RFC 6750)."""
    request.headers["Authorization"] = f"Bearer {token}"
    return request
